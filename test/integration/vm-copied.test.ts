import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { Reviews, Sandbox, type Review, type SandboxOptions } from '../../src/index.ts';
import { lendMachines, needsProgram } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { smallRootfs } from '../support/rootfs.ts';
import { codeOf } from '../support/sdk.ts';
import { expectNothingLeft, processesOf, snapshot } from '../support/tree.ts';

/** An emulated machine on a busy host. */
const PATIENCE_MS = 300_000;
const missing = inject('machineMissing') ?? needsProgram('bwrap') ?? needsProgram('mkfs.erofs');
const title = (name: string): string => (missing === undefined ? name : `${name} (skipped: ${missing})`);
const machines = (name: string, tests: () => void): unknown =>
  describe.skipIf(missing !== undefined)(title(name), { timeout: PATIENCE_MS }, tests);

/** One for all of them, so that they share its root and its template. */
const IMAGE = mkdtempSync('/var/tmp/gbx-image-');

beforeAll(() => void smallRootfs(IMAGE));

afterAll(() => rmSync(IMAGE, { recursive: true, force: true }));

/** Nobody serves files to its machines. */
class BareBox extends TestBox {
  readonly image: string = IMAGE;

  constructor() {
    super();
    lendMachines(this);
  }

  override env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    return super.env({ GLOVEBOX_VIRTIOFSD: '/no/such/virtiofsd', ...extra });
  }

  create(options: SandboxOptions = {}): Promise<Sandbox> {
    const wanted = { workspace: this.workspace, hostEnv: this.env(), tier: 'vm', image: this.image } as const;
    return Sandbox.create({ ...wanted, limits: { memory: '192MiB' }, ...options });
  }

  /** Command lines of its machines. */
  machines(): readonly string[] {
    return this.pids(/qemu-system-\S+ -/).map((pid) => commandOf(pid));
  }

  pids(name: RegExp): readonly string[] {
    const all = processesOf(this).map((line) => line.split(' ')[0] ?? '');
    return all.filter((pid) => name.test(commandOf(pid)) && !commandOf(pid).startsWith('bwrap'));
  }

  only(): Review {
    const [review, ...more] = new Reviews({ hostEnv: this.env() }).list();
    expect(more).toEqual([]);
    if (review === undefined) throw new Error('there is no review');
    return review;
  }
}

function commandOf(pid: string): string {
  const file = `/proc/${pid}/cmdline`;
  return existsSync(file) ? readFileSync(file, 'latin1').replaceAll('\0', ' ') : '';
}

const pathsOf = ({ changes }: Pick<Review, 'changes'>): readonly string[] =>
  changes.map(({ kind, path: at }) => `${kind} ${at}`);

const textOf = async (box: Sandbox, script: string): Promise<string> =>
  (await box.commands.run(['bash', '-c', script])).stdout;

machines('a machine that no file server serves', () => {
  it('works on a copy, without what is denied, and what it changes waits for a person', async () => {
    using box = new BareBox();
    box.write('a.txt', 'one\n');
    box.write('gone', 'x');
    box.write('.env', 'SECRET');
    box.write('deep/er/run.sh', 'echo ran\n');
    const tool = path.join(box.home, 'tool');
    mkdirSync(path.join(tool, 'key'), { recursive: true });
    writeFileSync(path.join(tool, 'data'), 'of the tool\n');
    writeFileSync(path.join(tool, 'key/private'), 'SECRET');
    const before = [snapshot(box.workspace), snapshot(tool)];
    const script =
      `cat .env ${tool}/key/private; cat ${tool}/data; echo x > ${tool}/data || echo refused;` +
      'bash deep/er/run.sh; echo two >> a.txt; rm gone; mkdir new; echo hi > new/c; ln -s /etc/passwd out';
    const flags = ['--tier', 'vm', '--image', box.image, '--memory', '192MiB', '--read', tool];
    const run = await box.sh(script, {
      flags: [...flags, '--deny', '.env', '--deny', path.join(tool, 'key')],
      timeoutMs: PATIENCE_MS,
    });
    expect(run.stdout).toBe('of the tool\nrefused\nran\n');
    expect(run.stderr).not.toContain('SECRET');
    expect(run.stderr).toContain('virtiofsd is not installed: the machine works on a copy of the workspace');
    expect(run.stderr).toContain('5 changes wait for you');
    expect([snapshot(box.workspace), snapshot(tool)]).toEqual(before);
    const review = box.only();
    expect(pathsOf(review)).toEqual([
      'modified a.txt',
      'deleted gone',
      'added new',
      'added new/c',
      'added out',
    ]);
    expect(review.changes.at(-1)?.blocked).toBe('it leads out of the workspace');
    expect((await box.cli(['review', 'apply'])).stderr).toContain('4 changes applied');
    expect(box.read('a.txt')).toBe('one\ntwo\n');
    expect(box.listing()).toEqual(['.env', 'a.txt', 'deep', 'new']);
    await expectNothingLeft(box);
  });

  it('maps its template for itself: two of them see nothing of each other', async () => {
    using box = new BareBox();
    box.write('in.txt', 'from the host\n');
    const [first, second] = [await box.create(), await box.create()];
    try {
      const all = box.machines();
      expect(all).toHaveLength(2);
      for (const command of all) {
        expect(command).toContain('mem-path=/machine/template,share=off,readonly=on');
        expect(command).not.toContain('vhost-user-fs');
      }
      expect(box.pids(/virtiofsd/)).toEqual([]);
      await textOf(first, 'for i in 1 2 3 4 5 6 7 8; do echo first > f$i; done; echo first > /tmp/mine');
      expect(await textOf(second, 'cat f1 /tmp/mine; cat in.txt; echo second > f1; cat f1')).toBe(
        'from the host\nsecond\n',
      );
      expect(await textOf(first, 'cat f1 f8 /tmp/mine')).toBe('first\nfirst\nfirst\n');
      const random = 'cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id';
      expect(await textOf(first, random)).not.toBe(await textOf(second, random));
    } finally {
      await Promise.all([first.kill(), second.kill()]);
    }
    await expectNothingLeft(box);
  });

  it('tells what is different at any moment, also of what was moved away and back', async () => {
    using box = new BareBox();
    box.write('d/f', 'as it was\n');
    box.write('same', 'as it was\n');
    const sandbox = await box.create();
    expect(pathsOf(await sandbox.changes())).toEqual([]);
    await sandbox.files.rename('d', 'e');
    expect(pathsOf(await sandbox.changes())).toEqual(['deleted d', 'deleted d/f', 'added e', 'added e/f']);
    await sandbox.files.rename('e', 'd');
    await textOf(sandbox, 'echo more >> same');
    expect(pathsOf(await sandbox.changes())).toEqual(['modified same']);
    // One that stands still is asked all the same.
    await textOf(sandbox, 'echo new > new');
    await sandbox.pause();
    const { review, receipt } = await sandbox.kill();
    expect(review?.lost).toBeUndefined();
    expect(review?.changes.map(({ path: at }) => at)).toEqual(['new', 'same']);
    expect(receipt.items.filter(({ gone }) => !gone)).toEqual([]);
    expect(box.read('same')).toBe('as it was\n');
  });

  it('says what is lost when it crashes, and keeps what had come back', async () => {
    using box = new BareBox();
    box.write('a', 'one\n');
    const sandbox = await box.create();
    await textOf(sandbox, 'echo two >> a');
    await sandbox.changes();
    await textOf(sandbox, 'echo three >> a');
    for (const pid of box.pids(/qemu-system-\S+ -/)) process.kill(Number(pid), 'SIGKILL');
    expect(await sandbox.closed).toMatchObject({ code: 'E_SANDBOX_CRASHED' });
    const { review, cause } = await sandbox.kill();
    expect(cause).toBe('lost');
    expect(review?.lost).toContain('the machine');
    expect(pathsOf(box.only())).toEqual(['modified a']);
    expect(
      readFileSync(path.join(box.home, '.local/state/glovebox/reviews', box.only().id, '0'), 'utf8'),
    ).toBe('one\ntwo\n');
    expect(box.records().find(({ kind }) => kind === 'review.made')).toBeDefined();
    expect(box.read('a')).toBe('one\n');
    await expectNothingLeft(box);
  });

  it('is refused for what its memory has no room for, and for a second tree to write to', async () => {
    using box = new BareBox();
    truncateSync(box.write('large'), 200 * 1024 ** 2);
    const error = await box.create().then(
      () => undefined,
      (refused: unknown) => refused,
    );
    expect(error).toMatchObject({ code: 'E_REVIEW_TOO_LARGE' });
    expect(String(Reflect.get(Object(error), 'why'))).toMatch(
      /it takes 20[01] MiB, and a machine of 192 MiB may hold 96/,
    );
    truncateSync(path.join(box.workspace, 'large'), 0);
    const other = path.join(box.home, 'other');
    mkdirSync(other);
    expect(await codeOf(box.create({ write: [other] }))).toBe('E_TIER_UNAVAILABLE');
    await expectNothingLeft(box);
  });
});

machines('mode: review in the vm tier', () => {
  it('exports nothing of the policy, though there is a file server', async () => {
    using box = new TestBox();
    lendMachines(box);
    box.write('a', 'one\n');
    const options = { workspace: box.workspace, hostEnv: box.env(), review: true } as const;
    const sandbox = await Sandbox.create({ ...options, tier: 'vm', limits: { memory: '192MiB' } });
    try {
      const servers = processesOf(box).filter((line) => line.includes('virtiofsd'));
      expect(servers.some((line) => line.includes('/sockets/view'))).toBe(false);
      expect(await textOf(sandbox, 'stat -f -c %T .; cat a')).toBe('tmpfs\none\n');
    } finally {
      await sandbox.kill();
    }
  });
});
