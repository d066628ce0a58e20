import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  truncateSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { locateAgent } from '../../src/agent/locate.ts';
import { findBubblewrap } from '../../src/drivers/bubblewrap/probe.ts';
import { templateKey, type TemplateInput } from '../../src/drivers/qemu/index.ts';
import { MachineCache } from '../../src/machine/cache/cache.ts';
import { templateFor } from '../../src/sandbox/machine-template.ts';
import { until } from '../support/attack.ts';
import { GLOVEBOX } from '../support/box.ts';
import { machines, PATIENCE_MS, textOf } from '../support/machines.ts';
import { TEMPLATE_MEMORY, TemplateBox } from '../support/template-box.ts';
import { expectNothingLeft, processesOf } from '../support/tree.ts';

const FLAGS = ['--tier', 'vm', '--memory', TEMPLATE_MEMORY] as const;

machines('machines that go on from a template', () => {
  it('share nothing that one could know of the other, and have their own workspace and the right time', async () => {
    using box = new TemplateBox();
    box.write('in.txt', 'from the host\n');
    const first = await box.create();
    const second = await box.create();
    try {
      const file = box.template();
      const jails = processesOf(box).filter((line) => line.includes('/.glovebox/agent recall'));
      expect(jails.length).toBeGreaterThanOrEqual(2);
      const random = [
        'head -c 16 /dev/urandom | od -An -tx1',
        'cat /proc/sys/kernel/random/boot_id',
        'cat /proc/sys/kernel/random/uuid',
        'echo $RANDOM-$RANDOM-$RANDOM',
        'mktemp -u XXXXXXXXXXXXXXXX',
      ].join('; ');
      const [one, other] = [await textOf(first, random), await textOf(second, random)].map((text) =>
        text.trim().split('\n'),
      );
      expect(one).toHaveLength(5);
      for (const [index, value] of (one ?? []).entries()) expect(other?.[index], value).not.toBe(value);
      for (const clone of [first, second]) {
        const before = Date.now();
        const inside = Number(await textOf(clone, 'date +%s%3N'));
        expect(inside).toBeGreaterThan(before - 1000);
        expect(inside).toBeLessThan(Date.now() + 1000);
      }
      expect(await textOf(second, 'cat in.txt; echo mine > out.txt')).toBe('from the host\n');
      expect(box.read('out.txt')).toBe('mine\n');
      expect(await textOf(first, 'cat out.txt; echo private > /tmp/x')).toBe('mine\n');
      expect(await textOf(second, 'cat /tmp/x 2>/dev/null || echo none')).toBe('none\n');
      expect(lstatSync(file).mode & 0o777).toBe(0o400);
    } finally {
      await Promise.all([first.kill(), second.kill()]);
    }
    await expectNothingLeft(box);
  });

  it('make one, if several start at once', async () => {
    using box = new TemplateBox();
    const results = await Promise.all([1, 2, 3].map(() => box.sh('echo works', { flags: FLAGS })));
    for (const result of results) expect(result).toMatchObject({ code: 0, stdout: 'works\n', stderr: '' });
    expect(box.templates()).toHaveLength(1);
    expect(box.drafts()).toEqual([]);
  });

  it('make it when the one who was making it was killed', async () => {
    using box = new TemplateBox();
    const child = spawn(process.execPath, [GLOVEBOX, 'run', ...FLAGS, '--', 'true'], {
      cwd: box.workspace,
      env: box.env(),
      stdio: 'ignore',
    });
    const memory = (): boolean =>
      box.drafts().some((name) => existsSync(path.join(box.cache, 'tmp', name, 'machine/ram')));
    await until(memory, 'a template to be in the making');
    child.kill('SIGKILL');
    await once(child, 'exit');
    await until(() => processesOf(box).length === 0, 'the machine to be gone');
    expect(box.templates()).toEqual([]);
    expect(await box.sh('echo works', { flags: FLAGS })).toMatchObject({ stdout: 'works\n', stderr: '' });
    expect(box.templates()).toHaveLength(1);
    expect(box.drafts()).toEqual([]);
    await expectNothingLeft(box);
  });
});

machines('the templates of one cache', () => {
  let box: TemplateBox;
  beforeAll(() => {
    box = new TemplateBox();
  });
  afterAll(() => box[Symbol.dispose]());

  /** The template of these flags, made where there is none. */
  const made = async (): Promise<string> => {
    if (box.templates().length === 0)
      expect(await box.sh('true', { flags: FLAGS })).toMatchObject({ code: 0, stderr: '' });
    return box.template();
  };

  it('are not made where none is wanted', async () => {
    const env = { GLOVEBOX_VM_TEMPLATE: 'off' };
    expect(await box.sh('echo works', { flags: FLAGS, env, timeoutMs: PATIENCE_MS / 2 })).toMatchObject({
      stdout: 'works\n',
      stderr: '',
    });
    expect(box.templates()).toEqual([]);
  });

  it('hold nothing of a sandbox', async () => {
    const canary = 'canary-8f1d2c7be5';
    box.write('secret.txt', canary);
    for (const _ of [1, 2]) {
      const result = await box.sh(`cat secret.txt; echo ${canary}`, {
        flags: FLAGS,
        timeoutMs: PATIENCE_MS / 4,
      });
      expect(result).toMatchObject({ code: 0, stdout: `${canary}${canary}\n`, stderr: '' });
    }
    const template = readFileSync(box.template());
    expect(template.includes('Linux version')).toBe(true);
    for (const word of [canary, box.workspace, box.home, 'sbx_'])
      expect(template.includes(word), word).toBe(false);
  });

  it.each<readonly [string, (file: string) => void]>([
    ['cut short', (file) => truncateSync(file, 1024 ** 2)],
    ['written to', (file) => void writeSync(openSync(file, 'r+'), 'x', 4096)],
    ['touched', (file) => utimesSync(file, 1, 1)],
  ])('are made anew when they were %s', async (_what, spoil) => {
    const file = await made();
    const { size, ino } = lstatSync(file);
    chmodSync(file, 0o600);
    spoil(file);
    expect(await box.sh('echo works', { flags: FLAGS })).toMatchObject({ stdout: 'works\n', stderr: '' });
    const again = lstatSync(box.template());
    expect(again.size).toBe(size);
    expect(again.ino).not.toBe(ino);
    expect(box.drafts()).toEqual([]);
  });

  it('go with `image prune`', async () => {
    await made();
    expect(await box.cli(['image', 'prune'])).toMatchObject({ code: 0 });
    expect(box.templates()).toEqual([]);
  });
});

machines('a template that cannot be made', () => {
  it('is done without, with one line that says why, and is not tried again at once', async () => {
    using box = new TemplateBox();
    const cache = new MachineCache(path.join(box.base, 'cache'));
    const lines: string[] = [];
    const machine: TemplateInput = {
      agent: locateAgent(),
      bubblewrap: findBubblewrap(process.env, box.workspace),
      scratch: box.home,
      kernel: '/etc/hostname',
      initrd: '/etc/hostname',
      qemu: '/usr/bin/false',
      arch: process.arch === 'arm64' ? 'arm64' : 'x64',
      accelerator: 'tcg',
      memoryBytes: 1024 ** 2,
      cpus: 1,
      shares: [],
    };
    const key = templateKey(machine, { kernel: 'a', initrd: 'b' });
    const want = async (): Promise<unknown> =>
      templateFor({
        ...{ cache, lease: cache.lease(), machine, key, tier: 'vm', base: 'host', env: {} },
        progress: (line) => lines.push(line),
      });
    expect(await want()).toBeUndefined();
    expect(lines).toEqual([expect.stringMatching(/boots, which takes longer: .*QEMU ended with 1$/)]);
    const memo = path.join(box.base, 'cache/memo');
    const written = (): readonly number[] =>
      readdirSync(memo).map((name) => lstatSync(path.join(memo, name)).ctimeMs);
    const before = written();
    expect(await want()).toBeUndefined();
    expect(lines[1]).toBe(lines[0]);
    expect(written()).toEqual(before);
    expect(before).toHaveLength(1);
    expect(readdirSync(path.join(box.base, 'cache/tmp'))).toEqual([]);
  });
});
