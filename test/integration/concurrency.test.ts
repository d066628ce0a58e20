import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { Sandbox } from '../../src/index.ts';
import { AttackBox, onHost, PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { cgroupsOf, expectNothingLeft, sandboxIds, snapshot } from '../support/tree.ts';

/** Goes at what is denied and protected for a while, so that other runs begin and end meanwhile; prints what got through. */
const GO_AT_IT = `
import os, sys, time
targets = ['.envrc', '.git/hooks/pre-commit', '.git/config', '.claude/settings.json', 'secret.pem', 'later/.env', '.vscode/tasks.json']
through = set()
def tried(name, action):
    try:
        action()
    except OSError:
        return
    through.add(name)
def write(target):
    os.makedirs(os.path.dirname(target) or '.', exist_ok=True)
    with open(target, 'a') as file: file.write('x')
number = int(sys.argv[1])
for turn in range(3 + number % 4):
    for target in targets: tried('write ' + target, lambda: write(target))
    tried('read secret.pem', lambda: open('secret.pem').read())
    tried('move .git', lambda: os.rename('.git', 'moved-%d' % number))
    tried('move .claude', lambda: os.rename('.claude', 'moved-%d' % number))
    time.sleep(0.05)
with open('out/%d' % number, 'w') as file: file.write('mine')
print(sorted(through))
`;

describe('runs at once in one directory', () => {
  it.each([2, 20, 80])(
    '%i end well, and each holds while others end',
    async (count) => {
      using box = new TestBox();
      await onHost(box, ['git', 'init', '--quiet', '.']);
      box.write('secret.pem', 'secret\n');
      mkdirSync(path.join(box.workspace, 'out'));
      const before = snapshot(box.workspace);
      const flags = ['--deny', '*.pem', '--deny', 'later/.env'];
      const runs = Array.from({ length: count }, (_, i) =>
        box.run([PYTHON, '-c', GO_AT_IT, String(i)], { flags, timeoutMs: 170_000 }),
      );
      const results = await Promise.all(runs);
      const good = { code: 0, signal: null, stdout: '[]\n', stderr: '' };
      expect(results.filter((result) => JSON.stringify(result) !== JSON.stringify(good))).toEqual([]);
      expect(box.read('secret.pem')).toBe('secret\n');
      const made = Array.from({ length: count }, (_, i) => path.join(box.workspace, `out/${i}`));
      expect(snapshot(box.workspace)).toEqual([...before, ...made].sort());
      expect(box.records().filter((record) => record.kind === 'run.end')).toHaveLength(count);
      expect((await box.cli(['audit', 'verify'])).code).toBe(0);
      expect(cgroupsOf(sandboxIds(box))).toEqual([]);
      await expectNothingLeft(box);
    },
    180_000,
  );

  it('a placeholder stays as long as somebody holds it, also when its maker is killed', async () => {
    using box = new AttackBox('process');
    const script = [
      'bash',
      '-c',
      'echo up; read -r x; mkdir -p .claude; echo x > .claude/settings.json; echo x > .envrc; echo end',
    ];
    const maker = box.start(script);
    await maker.said('up');
    const second = box.start(script);
    await second.said('up');
    maker.child.kill('SIGKILL');
    await maker.ended;
    expect((await box.run(['true'])).code).toBe(0);
    second.tell('go');
    const result = await second.finish();
    expect(result.stdout).toBe('up\nend\n');
    expect(result.stderr.match(/Read-only|Permission denied|Is a directory/g)).toHaveLength(2);
    expect((await box.run(['true'])).code).toBe(0);
    expect(box.listing()).toEqual([]);
  });
});

describe('sandboxes at once in one process', () => {
  it('20 live side by side, and the end of half leaves the rest alone', async () => {
    using box = new TestBox();
    const options = {
      workspace: box.workspace,
      hostEnv: box.env(),
      deny: [box.write('secret.pem', 'secret\n')],
    };
    const boxes = await Promise.all(Array.from({ length: 20 }, () => Sandbox.create(options)));
    try {
      const said = await Promise.all(boxes.map((one, i) => one.commands.run(['echo', String(i)])));
      expect(said.map((result) => result.stdout)).toEqual(boxes.map((_, i) => `${i}\n`));
      await Promise.all(boxes.filter((_, i) => i % 2 === 0).map((one) => one.kill()));
      const rest = boxes.filter((_, i) => i % 2 === 1);
      const held = await Promise.all(
        rest.map((one) =>
          one.commands.exec([
            'bash',
            '-c',
            'cat secret.pem; echo x > .envrc; echo x > secret.pem; echo still here',
          ]),
        ),
      );
      expect(held.map((result) => result.stdout)).toEqual(rest.map(() => 'still here\n'));
      expect(box.read('secret.pem')).toBe('secret\n');
    } finally {
      await Promise.all(boxes.map((one) => one.kill()));
    }
    expect(new Set(boxes.map((one) => one.id)).size).toBe(20);
    expect(box.listing()).toEqual(['secret.pem']);
    expect(cgroupsOf(sandboxIds(box))).toEqual([]);
    await expectNothingLeft(box);
  }, 120_000);
});
