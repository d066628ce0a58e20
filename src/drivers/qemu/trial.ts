import { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock } from '../../agent/airlock.ts';
import { machineReady } from '../../agent/machine.ts';
import { isGloveboxError } from '../../base/errors.ts';
import { machineJailArgs, qemuArgs, type MachineInput, type MachineJailInput } from './args.ts';
import { machineBoot } from './boot.ts';
import { ConsoleTail } from './console.ts';

export interface TrialInput
  extends
    Pick<MachineInput, 'qemu' | 'arch' | 'accelerator' | 'tscKhz'>,
    Omit<MachineJailInput, 'disk' | 'accelerator'> {
  readonly bubblewrap: string;
  readonly scratch: string;
  /** How long a guest may take, in ms. */
  readonly limitMs: number;
}

const MEMORY_BYTES = 128 * 1024 ** 2;

/** Boots the real guest, in the jail that machines run in, up to the moment at which it would be told what to be. Answers why that failed. */
export async function tryMachine(input: TrialInput): Promise<string | undefined> {
  const [, ...words] = machineJailArgs(input);
  const airlock = spawnAirlock({
    agent: input.agent,
    mode: 'oneshot',
    stdio: ['ignore', 'pipe', 'pipe'],
    spec: {
      cgroups: [],
      scratch: input.scratch,
      argv: [input.bubblewrap, ...words],
      env: {},
      network: false,
    },
  });
  try {
    return await saysReady(
      await airlock.boot(() => machineBoot(input.arch, trialArgs(input))),
      input.limitMs,
    );
  } catch (error) {
    return isGloveboxError(error) ? [error.what, error.why].filter((one) => one).join(': ') : String(error);
  } finally {
    await airlock.kill();
  }
}

function trialArgs(input: TrialInput): readonly string[] {
  const bare = { cpus: 1, shares: [], disk: false, network: false };
  return qemuArgs({ ...input, ...bare, memoryBytes: MEMORY_BYTES });
}

async function saysReady({ child, exited }: Airlock, limitMs: number): Promise<string | undefined> {
  const channel = child.stdio[1];
  if (!(channel instanceof Duplex)) return 'it has no channel';
  const tail = new ConsoleTail(child.stderr);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(`a guest did not boot within ${limitMs} ms`), limitMs);
  });
  const died = exited.then(({ code, signal }) => lastLine(tail) ?? `QEMU ended with ${signal ?? code}`);
  const ready = machineReady(channel).then(
    () => undefined,
    () => died,
  );
  try {
    return await Promise.race([ready, died, late]);
  } finally {
    clearTimeout(timer);
  }
}

const lastLine = (tail: ConsoleTail): string | undefined =>
  tail.text().split('\n').at(-1)?.slice(0, 300) || undefined;
