import path from 'node:path';
import type { AppearedFile, ScanSpec } from '../agent/contract.ts';
import { Finisher } from '../agent/finish.ts';
import { locateAgent } from '../agent/locate.ts';
import type { AuditSink } from '../audit/contract.ts';
import { canonicalHash } from '../base/canonical-json.ts';
import { CAPS } from '../base/caps.ts';
import { isGloveboxError } from '../base/errors.ts';
import { pathFromBytes } from '../base/path-bytes.ts';
import { ensurePrivateDir, gloveboxDirs } from '../base/paths.ts';
import { within } from '../base/within.ts';
import type { ContainmentUsage } from '../drivers/contract.ts';
import type { LimitName } from '../policy/contract.ts';
import { APPEARED_PATTERNS } from '../policy/protected.ts';
import type { TeardownReceipt } from './receipt.ts';
import { placeholdersOf } from './registry.ts';
import { isTemporary, sweepTemporaries } from './sweep.ts';
import type { ReviewOutcome } from './review-copy.ts';
import type { StartedSandbox } from './start.ts';

/** Why a sandbox ended. */
export type EndCause =
  | 'guard-lost'
  | 'exit'
  | 'signal'
  | 'timeout'
  | 'ttl'
  | 'idle'
  | 'limit'
  | 'killed'
  | 'lost'
  | 'refused';

export interface EndInput {
  readonly sandbox: StartedSandbox;
  readonly audit: AuditSink;
  readonly cause: EndCause;
  /** Exit code as a shell says it, when a command ended. */
  readonly status?: number;
  /** Limits that Glovebox itself noticed, besides those of the cgroup. */
  readonly hit: readonly LimitName[];
  readonly env: NodeJS.ProcessEnv;
}

/** What was left to say when it was over. */
export interface EndReport {
  readonly cause: EndCause;
  /** Names in the workspace that the host may execute and that appeared or changed meanwhile. */
  readonly appeared: readonly string[];
  readonly appearedTruncated: boolean;
  readonly usage: ContainmentUsage;
  readonly durationMs: number;
  /** In mode review: what it changed in its copy. */
  readonly review?: ReviewOutcome;
  /** What it had on this machine and whether that is gone, looked at from outside. */
  readonly receipt: TeardownReceipt;
}

/** Clocks of the kernel's timestamps advance by ticks: a file made right at the start may bear an earlier one. */
const CLOCK_SLACK_MS = 20;

/** Takes a sandbox down, sweeps what it and dead runs held, and writes the record of the end. */
export async function endSandbox(input: EndInput): Promise<EndReport> {
  const { sandbox } = input;
  // A one-shot agent leaves after its command; every other end is ours.
  const leaving = input.cause === 'exit' || input.cause === 'signal' || input.cause === 'refused';
  // What it still has to say when it is asked for its files, it says to us alone.
  const cutOff = leaving ? undefined : sandbox.gateway.close();
  cutOff?.catch(() => undefined);
  await fetchReview(input, leaving);
  if (!leaving) sandbox.jail.kill();
  const finisher = new Finisher(locateAgent(input.env));
  try {
    // One that leaves by itself may have something on its way out; one that is killed has not.
    const down = takeDown(sandbox, leaving);
    const closed = cutOff ?? down.then(() => sandbox.gateway.close());
    // Settled below, as the sweep is: what fails first must not leave the other unhandled.
    closed.catch(() => undefined);
    await down;
    sandbox.stopWatching();
    const finished = sweep(input, finisher);
    finished.catch(() => undefined);
    await closed;
    let failure: { readonly error: unknown } | undefined;
    const review = await sandbox.review?.conclude(sandbox.id, input.audit).catch((error: unknown) => {
      failure = { error };
      return undefined;
    });
    // The end is one, and is recorded, also where nobody can say what appeared: in a workspace that was removed, for example.
    const findings = await finished.catch((error: unknown) => {
      failure = { error };
      return { appeared: [], appearedTruncated: true };
    });
    const known = reportOf(input, sandbox.usage(), findings);
    await sandbox.teardown.run();
    const report = {
      ...known,
      ...(review === undefined ? {} : { review }),
      receipt: sandbox.inventory.receipt(),
    };
    await recordEnd(input, report, input.audit);
    if (failure !== undefined) throw failure.error;
    return report;
  } finally {
    // Also when there is nothing to report, because finding out what was left has failed.
    await sandbox.teardown.run();
    finisher.dismiss();
  }
}

/** What a machine holds of a review goes with it. One that nobody thinks lost is asked for it, also when it stands still. */
async function fetchReview({ sandbox, cause }: EndInput, leaving: boolean): Promise<void> {
  const { review, jail } = sandbox;
  if (review === undefined) return;
  if (cause === 'lost') jail.kill();
  else if (!leaving) await goOn(sandbox);
  await review.fetch(!leaving && cause !== 'lost');
}

async function goOn({ limits, jail }: StartedSandbox): Promise<void> {
  limits.freeze(false);
  // Whether it does shows when it is asked for its files.
  await jail.machine?.resume().catch(() => undefined);
}

function reportOf(input: EndInput, seen: ContainmentUsage, finished: Findings): Omit<EndReport, 'receipt'> {
  const { sandbox } = input;
  const usage = { ...seen, hit: [...new Set([...seen.hit, ...input.hit])] };
  const lost = sandbox.guard.lost !== undefined && input.cause === 'lost';
  const limited = usage.hit.length > 0 && (input.cause === 'signal' || input.cause === 'lost');
  const cause = lost ? 'guard-lost' : limited ? 'limit' : input.cause;
  return { cause, ...finished, usage, durationMs: Date.now() - sandbox.startedAt };
}

/** An agent that has said goodbye needs this long at most to leave; a killed one to be gone for good. */
const LEAVE_MS = 2_000;

/**
 * Lets an agent that has ended leave by itself and kills any other. The channel closes with the last holder of its far end,
 * which is pid 1 of the jail: only then is the pid namespace dead, and every lock on a placeholder released.
 */
async function takeDown(sandbox: StartedSandbox, leaving: boolean): Promise<void> {
  const { jail, session } = sandbox;
  const gone = Promise.all([jail.exited, session.closed]);
  if (!leaving || !(await within(LEAVE_MS, gone))) jail.kill();
  await within(LEAVE_MS, gone);
  session.destroy();
  await jail.exited;
}

type Findings = Pick<EndReport, 'appeared' | 'appearedTruncated'>;

/** Releases placeholders, looks for what the host may execute, and removes what dead runs left. */
async function sweep({ sandbox, env }: EndInput, finisher: Finisher): Promise<Findings> {
  const { plan } = sandbox.prepared;
  const dead = sandbox.registry.dead(sandbox.id);
  const held = [...sandbox.held, ...dead.flatMap((entry) => entry.held)];
  // What goes away cannot be run by anybody.
  const writable =
    sandbox.review === undefined &&
    !isTemporary(plan.workspace, gloveboxDirs(env)) &&
    plan.view.some((mount) => mount.kind === 'bind' && mount.writable && mount.target === plan.workspace);
  const result = await finisher.finish({
    placeholders: placeholdersOf(held),
    umask: process.umask(),
    ...(writable ? { scan: scanOf(sandbox, env) } : {}),
  });
  // What another run still holds is its own to release; the entry of a dead one stays until nothing is left of it.
  await sweepTemporaries(gloveboxDirs(env));
  if (result.kept === 0) for (const entry of dead) sandbox.registry.remove(entry.id);
  return {
    appeared: result.appeared.filter(isTelling).map(nameOf),
    appearedTruncated: result.truncated || result.unreadable > 0,
  };
}

/** A `.git` directory changes with every commit; its files that matter have patterns of their own. */
function isTelling(file: AppearedFile): boolean {
  return !(file.type === 'dir' && /(^|\/)\.git$/.test(nameOf(file)));
}

function scanOf(sandbox: StartedSandbox, env: NodeJS.ProcessEnv): ScanSpec {
  const root = sandbox.prepared.plan.workspace;
  const memory = memoryFile(root, env);
  return {
    root,
    sinceNs: BigInt(sandbox.startedAt - CLOCK_SLACK_MS) * 1_000_000n,
    patterns: APPEARED_PATTERNS.map((row) => row.pattern),
    ...(memory === undefined ? {} : { memory }),
    maxResults: CAPS.appearedShown * 50,
  };
}

/** One for each tree, in the cache, which no sandbox sees. Without it the tree is read in full. */
function memoryFile(root: string, env: NodeJS.ProcessEnv): string | undefined {
  try {
    ensurePrivateDir(gloveboxDirs(env).cache);
    return path.join(ensurePrivateDir(path.join(gloveboxDirs(env).cache, 'trees')), canonicalHash(root));
  } catch (error) {
    if (isGloveboxError(error)) return undefined;
    throw error;
  }
}

const nameOf = (file: AppearedFile): string => pathFromBytes(file.path);

async function recordEnd(input: EndInput, report: EndReport, audit: AuditSink): Promise<void> {
  const sandbox = input.sandbox.id;
  const writes = report.usage.hit.map((limit) =>
    audit.write({ kind: 'limit.hit', sandbox, data: { limit, value: limitValue(input.sandbox, limit) } }),
  );
  if (report.appeared.length > 0 || report.appearedTruncated) {
    const data = { files: report.appeared, truncated: report.appearedTruncated };
    writes.push(audit.write({ kind: 'files.appeared', sandbox, data }));
  }
  const { usage } = report;
  const data = {
    cause: report.cause,
    ...(input.status === undefined ? {} : { status: input.status }),
    durationMs: report.durationMs,
    network: input.sandbox.gateway.stats(),
    left: report.receipt.items.filter((item) => !item.gone).map(({ kind, name }) => ({ kind, name })),
    gone: report.receipt.items.filter((item) => item.gone).length,
    usage: { peakMemoryBytes: usage.peakMemoryBytes, cpuMs: usage.cpuMs, peakPids: usage.peakPids },
  };
  writes.push(audit.write({ kind: 'run.end', sandbox, data }));
  await Promise.all(writes);
}

const LIMIT_KEYS = {
  cpu: 'cpu',
  memory: 'memoryBytes',
  pids: 'pids',
  files: 'files',
  fileSize: 'fileSizeBytes',
  output: 'outputBytes',
  timeout: 'timeoutMs',
  ttl: 'ttlMs',
} as const satisfies Record<LimitName, string>;

function limitValue(sandbox: StartedSandbox, limit: LimitName): number | undefined {
  return sandbox.prepared.plan.limits[LIMIT_KEYS[limit]];
}
