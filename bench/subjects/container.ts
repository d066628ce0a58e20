import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { findRunsc } from '../../src/drivers/gvisor/probe.ts';
import type { Sandbox, SandboxPool } from '../../src/index.ts';
import { timeRun, type Invocation } from '../lib/command.ts';
import type { Subject } from '../lib/context.ts';
import type { Place } from '../lib/place.ts';
import { descendants, proportionalMiB } from '../lib/processes.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { against, ratio } from '../lib/stats.ts';
import { builtSdk } from './sdk.ts';

const ROUNDS = 15;
const FILE_BYTES = 64 * 1024 * 1024;
const SMALL_FILE = '/tmp/small';

/** A whole container, a command in one that runs, and one from a pool, beside the bare runtime doing the same. */
export const container: Subject = {
  name: 'container',
  summary: 'gVisor sandboxes: create, exec, pool and files, beside bare runsc',
  run: async ({ place, rounds, budgetMs }) => {
    const runtime = bareRuntime(place);
    if (runtime === undefined)
      return { series: [], comparisons: [], skips: [{ label: 'container', why: 'no runsc' }] };
    const { Sandbox } = await builtSdk();
    const workspace = place.workspace('container');
    const options = { workspace, hostEnv: place.env(), tier: 'container' as const };
    const running = await Sandbox.create(options);
    const pool = Sandbox.pool({ sandbox: options, size: 1, languages: ['python'] });
    runtime.start();
    try {
      await running.files.write(SMALL_FILE, 'x'.repeat(1024));
      const whole = async (): Promise<void> => {
        const box = await Sandbox.create(options);
        await box.commands.run(['true']);
        await box.kill();
      };
      const arms: Arm[] = [
        timed('runsc run', runtime.run),
        {
          name: 'container',
          command: "Sandbox.create({ tier: 'container' }); run(['true']); kill()",
          sample: () => stopwatch(whole),
        },
        timed('runsc exec', runtime.exec),
        {
          name: 'command',
          command: "commands.run(['true']) in it",
          sample: () => stopwatch(() => running.commands.run(['true'])),
        },
        {
          name: 'small read',
          command: 'files.read(FILE), 1 KiB',
          sample: () => stopwatch(() => running.files.read(SMALL_FILE)),
        },
        {
          name: 'small write',
          command: 'files.write(FILE, 1 KiB)',
          sample: () => stopwatch(() => running.files.write(SMALL_FILE, 'x'.repeat(1024))),
        },
        {
          name: 'pooled',
          command: "pool.take(); run(['true'])",
          sample: () => taken(pool, (box) => box.commands.run(['true'])),
        },
        {
          name: 'pooled python',
          command: "pool.take(); runCode('0')",
          sample: () => taken(pool, (box) => box.runCode('0')),
        },
      ];
      const series = [
        ...(await interleave({
          arms: quietly(arms, pool),
          metrics: { '': 'ms' },
          rounds: rounds(ROUNDS),
          warmups: 2,
          budgetMs,
        })),
        ...(await interleave({
          arms: fileArms(running),
          metrics: { '': 'MiB/s' },
          rounds: 3,
          warmups: 1,
          budgetMs,
        })),
        ...(await interleave({ arms: [idleArm()], metrics: { '': 'MiB' }, rounds: 3, warmups: 0, budgetMs })),
      ];
      const of = (name: string) => find(series, name);
      return {
        series,
        comparisons: [
          ...ratio({
            label: 'container / runsc run',
            of: of('container'),
            to: of('runsc run'),
            target: { at: 'most', value: 1.3 },
          }),
          ...ratio({
            label: 'command / runsc exec',
            of: of('command'),
            to: of('runsc exec'),
            target: { at: 'most', value: 0.35 },
          }),
          ...against(of('small read'), { at: 'most', value: 5 }),
          ...against(of('small write'), { at: 'most', value: 5 }),
          ...against(of('pooled'), { at: 'most', value: 40 }),
          ...against(of('pooled python'), { at: 'most', value: 40 }),
          ...ratio({
            label: 'files.read / cat',
            of: of('files.read'),
            to: of('cat'),
            target: { at: 'least', value: 0.5 },
          }),
          ...ratio({
            label: 'files.write / cat',
            of: of('files.write'),
            to: of('cat >'),
            target: { at: 'least', value: 0.5 },
          }),
        ],
        skips: [],
      };
    } finally {
      runtime.stop();
      await pool.close();
      await running.kill();
    }
  },
};

const timed = (name: string, run: Invocation): Arm => ({
  name,
  command: run.argv.map((word) => path.basename(word)).join(' '),
  sample: async () => ({ '': timeRun(run) }),
});

async function stopwatch(work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> {
  const started = performance.now();
  await work();
  return { '': performance.now() - started };
}

/** Whatever the pool starts in the background is done before each sample. */
const quietly = (arms: readonly Arm[], pool: SandboxPool): Arm[] =>
  arms.map((arm) => ({ ...arm, before: () => pool.filled() }));

/** Until the first answer; its end is not part of it. */
async function taken(
  pool: SandboxPool,
  work: (box: Sandbox) => Promise<unknown>,
): Promise<Readonly<Record<string, number>>> {
  const started = performance.now();
  const box = await pool.take();
  await work(box);
  const elapsed = performance.now() - started;
  await box.kill();
  return { '': elapsed };
}

/** A file in the sandbox's own /tmp, by our calls and by `cat` with its output or input on our channel. */
function fileArms(box: Sandbox): Arm[] {
  const file = '/tmp/bench';
  const content = Buffer.alloc(FILE_BYTES, 'x');
  const rate = async (work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> => {
    const started = performance.now();
    await work();
    return { '': FILE_BYTES / 1024 / 1024 / ((performance.now() - started) / 1000) };
  };
  const maxOutputBytes = 2 * FILE_BYTES;
  return [
    {
      name: 'cat >',
      command: 'cat > FILE, from its stdin',
      sample: () => rate(() => box.commands.run(`cat > ${file}`, { stdin: content })),
    },
    {
      name: 'files.write',
      command: 'files.write(FILE, 64 MiB)',
      sample: () => rate(() => box.files.write(file, content)),
    },
    {
      name: 'cat',
      command: 'cat FILE, to its stdout',
      sample: () => rate(() => box.commands.run(['cat', file], { maxOutputBytes })),
    },
    {
      name: 'files.read',
      command: "files.read(FILE, { format: 'bytes' })",
      sample: () => rate(() => box.files.read(file, { format: 'bytes' })),
    },
  ];
}

/** What every process that this one has started takes: the idle sandbox, the one of the pool, and nothing else of weight. */
function idleArm(): Arm {
  return {
    name: 'PSS of two idle sandboxes',
    command: 'smaps_rollup of all processes below',
    sample: async () => {
      const below = descendants(process.pid).filter(({ pid }) => pid !== process.pid);
      return { '': below.reduce((sum, { pid }) => sum + (proportionalMiB(pid) ?? 0), 0) };
    },
  };
}

interface BareRuntime {
  readonly run: Invocation;
  readonly exec: Invocation;
  start(): void;
  stop(): void;
}

/** runsc by itself with the host's files read-only, as little as there can be. */
function bareRuntime(place: Place): BareRuntime | undefined {
  const env = place.env();
  const cwd = place.workspace('runsc');
  const runsc = findRunscOr(env);
  if (runsc === undefined) return undefined;
  const root = path.join(cwd, 'state');
  mkdirSync(root, { recursive: true });
  const rootless = process.getuid?.() === 0 ? [] : ['--rootless'];
  const flags = [
    runsc,
    `--root=${root}`,
    '--platform=systrap',
    '--network=none',
    '--ignore-cgroups',
    ...rootless,
  ];
  const bundle = (name: string, args: readonly string[]): string => {
    const dir = path.join(cwd, name);
    mkdirSync(dir, { recursive: true });
    writeFileSync(path.join(dir, 'config.json'), JSON.stringify(bareSpec(args)));
    return dir;
  };
  const one = bundle('true', ['/bin/true']);
  const long = bundle('sleep', ['/bin/sleep', '600']);
  const act = (...args: readonly string[]): unknown =>
    spawnSync(runsc, [...flags.slice(1), ...args], { cwd, env, stdio: 'ignore' });
  return {
    run: { argv: [...flags, 'run', `--bundle=${one}`, 'bench-run'], cwd, env },
    exec: { argv: [...flags, 'exec', 'bench-idle', '/bin/true'], cwd, env },
    start: () => act('run', '--detach', `--bundle=${long}`, 'bench-idle'),
    stop: () => {
      act('kill', 'bench-idle', 'KILL');
      act('delete', '--force', 'bench-idle');
    },
  };
}

function findRunscOr(env: NodeJS.ProcessEnv): string | undefined {
  try {
    return findRunsc(env, '/');
  } catch {
    return undefined;
  }
}

function bareSpec(args: readonly string[]): object {
  const none: readonly string[] = [];
  return {
    ociVersion: '1.0.2',
    process: {
      user: { uid: 0, gid: 0 },
      args,
      env: ['PATH=/usr/bin:/bin'],
      cwd: '/',
      capabilities: { bounding: none, effective: none, inheritable: none, permitted: none, ambient: none },
      noNewPrivileges: true,
    },
    root: { path: '/', readonly: true },
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
    linux: { namespaces: ['pid', 'ipc', 'uts', 'mount', 'network'].map((type) => ({ type })) },
  };
}
