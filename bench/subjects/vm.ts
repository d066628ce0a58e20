import { readFileSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Sandbox } from '../../src/index.ts';
import { bareMachines } from '../lib/bare-machine.ts';
import type { Subject } from '../lib/context.ts';
import { descendants } from '../lib/processes.ts';
import { find, interleave, type Arm } from '../lib/rounds.ts';
import { difference, ratio } from '../lib/stats.ts';
import { builtSdk } from './sdk.ts';

const ROUNDS = 7;
const AT_ONCE = 4;
const MEMORY = '1GiB';

/** A machine that boots, one that goes on from a template, and a command in one that runs, all of them emulated, beside QEMU by itself. */
export const vm: Subject = {
  name: 'vm',
  summary: 'machines under TCG: boot, clone and exec, beside bare QEMU',
  run: async ({ place, rounds, budgetMs }) => {
    const bare = await bareMachines(place);
    if (typeof bare === 'string') return { series: [], comparisons: [], skips: [{ label: 'vm', why: bare }] };
    const { Sandbox } = await builtSdk();
    const hostEnv: NodeJS.ProcessEnv = { ...place.env(), GLOVEBOX_VM_ACCEL: 'tcg' };
    const options = {
      workspace: place.workspace('vm'),
      hostEnv,
      tier: 'vm',
      limits: { memory: MEMORY },
    } as const;
    const cold = { ...options, hostEnv: { ...hostEnv, GLOVEBOX_VM_TEMPLATE: 'off' } };
    // The second start of a plan makes its template.
    for (const _ of [1, 2]) await (await Sandbox.create(options)).kill();
    const running = await Sandbox.create(options);
    const created = (name: string, how: typeof options | typeof cold): Arm => ({
      name,
      command: `Sandbox.create({ tier: 'vm' })${how === cold ? ', GLOVEBOX_VM_TEMPLATE=off' : ''}`,
      sample: () => timedBox(() => Sandbox.create(how)),
    });
    try {
      const starts: Arm[] = [
        { name: 'bare QEMU', command: 'qemu-system-x86_64 -M microvm … to MACHINE_READY', sample: bare.boot },
        {
          name: 'bare restore',
          command: 'two virtiofsd, a copy of memory, qemu -incoming; to HELLO',
          sample: bare.restore,
        },
        created('boot', cold),
        created('clone', options),
        {
          name: 'clone and true',
          command: "Sandbox.create({ tier: 'vm' }); run(['true'])",
          sample: () => timedBox(() => Sandbox.create(options), ['true']),
        },
        {
          name: 'clone and python',
          command: "Sandbox.create({ tier: 'vm' }); run(['python3', '-c', '0'])",
          sample: () => timedBox(() => Sandbox.create(options), ['python3', '-c', '0']),
        },
        {
          name: `${AT_ONCE} clones`,
          command: `${AT_ONCE} at once, each`,
          sample: () => together(() => Sandbox.create(options)),
        },
      ];
      const commands: Arm[] = [
        {
          name: 'command',
          command: "commands.run(['true']) in one",
          sample: () => timed(() => running.commands.run(['true'])),
        },
        {
          name: 'fork and exec inside',
          command: "sh -c 'for … /bin/true', each",
          sample: () => insideMs(running),
        },
      ];
      const shared = { budgetMs, warmups: 1 };
      const series = [
        ...(await interleave({ ...shared, arms: starts, metrics: { '': 'ms' }, rounds: rounds(ROUNDS) })),
        ...(await interleave({
          ...shared,
          arms: commands,
          metrics: { '': 'ms' },
          rounds: rounds(3 * ROUNDS),
        })),
        ...(await interleave({
          ...shared,
          arms: [memoryArm()],
          metrics: { '': 'MiB' },
          rounds: 1,
          warmups: 0,
        })),
      ];
      const of = (name: string) => find(series, name);
      return {
        series,
        comparisons: [
          ...ratio({
            label: 'boot / bare QEMU',
            of: of('boot'),
            to: of('bare QEMU'),
            target: { at: 'most', value: 1.15 },
          }),
          ...ratio({
            label: 'clone / bare restore',
            of: of('clone'),
            to: of('bare restore'),
            target: { at: 'most', value: 1.3 },
          }),
          ...ratio({
            label: 'clone / boot',
            of: of('clone'),
            to: of('boot'),
            target: { at: 'most', value: 0.15 },
          }),
          ...difference({
            label: 'command - fork and exec inside',
            of: of('command'),
            to: of('fork and exec inside'),
            target: { at: 'most', value: 5 },
          }),
        ],
        skips: [],
      };
    } finally {
      await running.kill();
    }
  },
};

type Sample = Readonly<Record<string, number>>;

async function timed(work: () => Promise<unknown>): Promise<Sample> {
  const started = performance.now();
  await work();
  return { '': performance.now() - started };
}

/** Until it stands or has answered; its end is not part of it. */
async function timedBox(create: () => Promise<Sandbox>, argv?: readonly string[]): Promise<Sample> {
  const started = performance.now();
  const box = await create();
  if (argv !== undefined) await box.commands.run([...argv]);
  const elapsed = performance.now() - started;
  await box.kill();
  return { '': elapsed };
}

async function together(create: () => Promise<Sandbox>): Promise<Sample> {
  const started = performance.now();
  const boxes = await Promise.all(Array.from({ length: AT_ONCE }, create));
  const elapsed = (performance.now() - started) / AT_ONCE;
  await Promise.all(boxes.map((box) => box.kill()));
  return { '': elapsed };
}

/** What the guest needs for a process by itself, by its own clock. */
async function insideMs(box: Sandbox): Promise<Sample> {
  const times = 20;
  const loop = `a=$(date +%s%N); i=0; while [ $i -lt ${times} ]; do /bin/true; i=$((i+1)); done; echo $(( $(date +%s%N) - a ))`;
  const { stdout } = await box.commands.run(['sh', '-c', loop]);
  return { '': Number(stdout) / 1e6 / times };
}

/** Of the machine that has run a command and idles. */
function memoryArm(): Arm {
  return {
    name: 'private memory of an idle clone',
    command: 'Private_Dirty of QEMU in smaps_rollup',
    sample: async () => {
      const machine = descendants(process.pid).find(({ pid }) =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith('/usr/bin/qemu-system'),
      );
      if (machine === undefined) throw new Error('no machine runs');
      const rollup = readFileSync(`/proc/${machine.pid}/smaps_rollup`, 'utf8');
      return { '': Number(/^Private_Dirty:\s+(\d+)/m.exec(rollup)?.[1]) / 1024 };
    },
  };
}
