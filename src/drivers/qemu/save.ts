import { appendFileSync, mkdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { spawnAirlock, type Airlock } from '../../agent/airlock.ts';
import { machineReady } from '../../agent/machine.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError } from '../../base/errors.ts';
import type { Mount } from '../contract.ts';
import { bootTwice, type EarlyEnd } from './again.ts';
import { MEMORY_FILE, machineJailArgs } from './args.ts';
import { machineBoot } from './boot.ts';
import { ConsoleTail } from './console.ts';
import { openControl } from './control.ts';
import { openFiles } from './copied.ts';
import { PLACES, type ShareName } from './layout.ts';
import { saveState } from './migrate.ts';
import type { QmpClient } from './qmp.ts';
import { serverOf, spawnShare, type Share } from './share.ts';
import { memoryEnd, savedArgs, type TemplateInput } from './template.ts';

/** What QEMU writes of its devices, below `PLACES.memory`. */
const STATE_FILE = 'state';

/** The end of what the console said. */
const CONSOLE_SHOWN = 2000;

/** Directories of the host for one machine in the making. */
interface Places {
  /** For what is saved. */
  readonly directory: string;
  readonly sockets: string;
}

/**
 * Boots a machine up to where it would be told what to be, and writes it to `file`; the directory above that of the file is used meanwhile. Nothing of
 * the machine lives when this returns. `notice` is told when it took two boots.
 *
 * @throws E_SANDBOX_START, E_TIER_UNAVAILABLE
 */
export async function makeTemplate(
  input: TemplateInput,
  file: string,
  notice: (line: string) => void,
): Promise<void> {
  const aside = path.dirname(path.dirname(file));
  const places = { directory: path.join(aside, 'machine'), sockets: path.join(aside, 'sockets') };
  await bootTwice(() => bootAndSave(input, places), { notice });
  const memory = path.join(places.directory, MEMORY_FILE);
  const { size } = statSync(memory);
  if (size !== memoryEnd(input)) throw failed(`its memory has ${size} bytes`);
  appendFileSync(memory, readFileSync(path.join(places.directory, STATE_FILE)));
  renameSync(memory, file);
}

async function bootAndSave(input: TemplateInput, places: Places): Promise<void> {
  for (const made of Object.values(places)) {
    rmSync(made, { recursive: true, force: true });
    mkdirSync(made, { mode: 0o700 });
  }
  const { agent, bubblewrap, scratch, arch } = input;
  const place = { kind: 'saved', directory: places.directory } as const;
  const [, ...words] = machineJailArgs({ ...input, sockets: places.sockets, place });
  const shares = input.shares.map((name) => emptyShare(input, name, places));
  const airlock = spawnAirlock({
    agent,
    mode: 'oneshot',
    stdio: ['ignore', 'pipe', 'pipe'],
    spec: { scratch, argv: [bubblewrap, ...words], env: {}, network: false },
  });
  const control = await openControl(places.sockets);
  const files = await openFiles(places.sockets, input.files === true);
  try {
    await Promise.all(shares.map((share) => share.boot(async () => ({}))));
    await save(await airlock.boot(() => machineBoot(arch, savedArgs(input))), control.client);
  } finally {
    control.close();
    files?.close();
    await Promise.all([airlock.kill(), ...shares.map((share) => share.kill())]);
  }
}

/** A file server belongs to the machine's devices; to a clone it is another one, with something to serve. */
function emptyShare(input: TemplateInput, name: ShareName, { sockets }: Places): Share {
  const { agent, bubblewrap, scratch, server } = input;
  const mounts: readonly Mount[] = [{ kind: 'dir', target: '/', mode: 0o755, why: 'nothing is shared' }];
  return spawnShare({
    ...{ agent, bubblewrap, scratch, cgroups: [], masks: [] },
    ...{ name, mounts, sockets, server: serverOf(server) },
  });
}

async function save({ child, exited }: Airlock, client: Promise<QmpClient>): Promise<void> {
  const [, channel] = child.stdio;
  if (!(channel instanceof Duplex)) throw failed('it has no channel');
  const tail = new ConsoleTail(child.stderr);
  // Ours, and no word of the machine's.
  const complaints: string[] = [];
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), CAPS.machineStartMs);
  const ended = new Promise<never>((_, reject) => {
    const reason = (why: string, early?: EarlyEnd): void =>
      reject(failed([tail.text().slice(-CONSOLE_SHOWN), ...complaints, why].join('\n').trim(), early));
    late.signal.addEventListener('abort', () => reason(`it did not boot within ${CAPS.machineStartMs} ms`));
    void exited.then(({ code, signal }) =>
      reason(`QEMU ended with ${signal ?? code}`, { silent: code === 0 && tail.text().trim() === '' }),
    );
  });
  try {
    const noted = (error: unknown): Promise<never> => {
      complaints.push(error instanceof Error ? error.message : String(error));
      return ended;
    };
    await Promise.race([machineReady(channel).catch(noted), ended]);
    const control = await Promise.race([client, ended]);
    await control.open();
    await Promise.race([saveState(control, `${PLACES.memory}/${STATE_FILE}`).catch(noted), ended]);
  } finally {
    clearTimeout(timer);
  }
}

function failed(why: string, early?: EarlyEnd): GloveboxError {
  const what = 'cannot make a template of a machine';
  return new GloveboxError('E_SANDBOX_START', { what, why, context: { ...early } });
}
