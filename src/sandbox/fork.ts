import { existsSync, rmSync, statSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { openAudit, type AuditWriter } from '../audit/writer.ts';
import { GloveboxError } from '../base/errors.ts';
import { newId } from '../base/ids.ts';
import { gloveboxDirs } from '../base/paths.ts';
import type { MachineTemplate } from '../drivers/qemu/index.ts';
import type { GatewayOptions } from '../gateway/contract.ts';
import { machineDirectory } from './machine-directory.ts';
import type { SandboxOptions } from './options.ts';
import type { RootStores } from './root-stores.ts';
import { startSandbox, type StartedSandbox } from './start.ts';

/** Each has a memory of its own, and all of them start at once. */
export const FORKS_MAX = 16;

/** What a sandbox goes on from that is a copy of another one. */
export interface ForkOrigin {
  readonly sandbox: string;
  readonly template: MachineTemplate;
  /** Programs in the copy trust it already. Absent: the gateway looks into nothing. */
  readonly authority?: GatewayOptions['authority'];
}

/** The sandbox that is copied, and how it was made. */
export interface ForkInput {
  readonly started: StartedSandbox;
  readonly options: SandboxOptions;
  readonly env: NodeJS.ProcessEnv;
  readonly roots: RootStores;
}

export interface ForkedSandbox {
  readonly started: StartedSandbox;
  readonly audit: AuditWriter;
  readonly options: SandboxOptions;
}

/** @throws E_USAGE for what is no number of copies, E_LIMIT_EXCEEDED above `FORKS_MAX` */
export function checkForkCount(count: number): void {
  if (!Number.isInteger(count) || count < 1) {
    throw new GloveboxError('E_USAGE', {
      what: `a sandbox cannot be copied ${count} times`,
      next: `Ask for a whole number from 1 to ${FORKS_MAX}.`,
    });
  }
  if (count <= FORKS_MAX) return;
  throw new GloveboxError('E_LIMIT_EXCEEDED', {
    what: `${count} copies of a sandbox were asked for at once`,
    next: `Ask for at most ${FORKS_MAX}; fork again for more.`,
  });
}

/** What becomes of a copy that has started. */
interface ForkEnds<T> {
  readonly finish: (forked: ForkedSandbox) => Promise<T>;
  readonly discard: (made: T) => Promise<unknown>;
}

/**
 * Copies a sandbox as it stands. `finish` makes of each copy what the caller wants, and is what the copy waits for: the file with the copied
 * memory is removed when all of them are done with it, or one of them failed.
 *
 * @throws E_UNSUPPORTED where it cannot be copied, E_IO without room for it, and what a start throws; no copy is left then
 */
export async function forkSandbox<T>(
  input: ForkInput,
  count: number,
  { finish, discard }: ForkEnds<T>,
): Promise<readonly T[]> {
  const copy = copierOf(input.started);
  const directory = machineDirectory(gloveboxDirs(input.env), newId('copy'));
  const file = path.join(directory, 'machine');
  try {
    await copy(file);
    const origin = originOf(input, file);
    const outcomes = await Promise.allSettled(
      Array.from({ length: count }, async () => finish(await startFork(input, origin))),
    );
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    const made = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    if (failed === undefined) return made;
    await Promise.allSettled(made.map(discard));
    throw failed.reason;
  } finally {
    forget(file);
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The jails of the copies hold it without its name; what was in it goes now. */
function forget(file: string): void {
  if (existsSync(file)) truncateSync(file, 0);
}

/** How the sandbox is written down. @throws E_UNSUPPORTED */
function copierOf({ jail, prepared, network }: StartedSandbox): (file: string) => Promise<void> {
  const { machine } = jail;
  const refuse = (why: string, next: string): GloveboxError =>
    new GloveboxError('E_UNSUPPORTED', { what: 'this sandbox cannot be copied', why, next });
  if (machine === undefined)
    throw refuse(
      `in tier ${prepared.plan.tier} its processes are those of a kernel that it shares`,
      'Create it with `tier: "vm"`.',
    );
  if (prepared.review !== undefined)
    throw refuse(
      'its workspace is a copy that waits for one review',
      'Create it without `review`, or review first and create others from the workspace.',
    );
  if (network.changed)
    throw refuse(
      'its network rules or credentials were changed since it started, and a copy would have those of the start',
      'Create sandboxes with the policy that is in force now.',
    );
  if (machine.copy === undefined)
    throw refuse(machine.uncopied ?? 'its machine cannot', 'Create it with `tier: "vm"` and a template.');
  return (file) => machine.copy?.(file) ?? Promise.resolve();
}

function originOf({ started }: ForkInput, file: string): ForkOrigin {
  const { authority } = started.egress.gateway;
  return {
    sandbox: started.id,
    template: { file, bytes: statSync(file).size, live: true },
    ...(authority === undefined ? {} : { authority }),
  };
}

/** The same plan, and everything else anew. A name and published ports are the parent's alone. */
async function startFork(input: ForkInput, origin: ForkOrigin): Promise<ForkedSandbox> {
  const { started, env, roots } = input;
  const { name: _name, publish: _publish, ...rest } = input.options;
  const { workspace } = started.prepared.plan;
  const options = { ...rest, temporary: false, workspace };
  const dirs = gloveboxDirs(env);
  const audit = openAudit({ stateDir: dirs.state });
  try {
    const fork = await startSandbox({
      ...{ prepared: started.prepared, policyHash: started.policyHash, dirs, env, audit, roots, origin },
      stdio: ['ignore', 'ignore', 'pipe'],
      publish: [],
      onNetwork: (event) => options.onNetwork?.(event),
      ...(options.onAsk === undefined ? {} : { onAsk: options.onAsk }),
      ...(options.onPause === undefined ? {} : { onPause: options.onPause }),
      ...(options.transport === undefined ? {} : { transport: options.transport }),
    });
    return { started: fork, audit, options };
  } catch (error) {
    await audit.close();
    throw error;
  }
}
