import { setTimeout as delay } from 'node:timers/promises';
import { isGloveboxError } from '../../base/errors.ts';
import type { Mount } from '../../drivers/contract.ts';
import type { NetworkEvent } from '../../gateway/contract.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { EndReport } from '../end.ts';
import type { SandboxOptions } from '../options.ts';
import { Sandbox } from '../sandbox.ts';
import type { CodeContext, CodeLanguage, Execution, ExecutionError, Result } from './contract.ts';
import { denialsOf, statusOf, type CodeDenial, type CodeStatus } from './verdict.ts';

export interface CodeOnce {
  readonly code: string;
  /** Default `python`. */
  readonly language?: CodeLanguage;
  /** Directory inside; default the workspace. */
  readonly cwd?: string;
  /**
   * Of the sandbox that is made for this and destroyed afterwards. Without a workspace it has an empty temporary one; the profile
   * `code` is added: 512 MiB, 1 CPU, 128 processes, 60 s, unless a policy or these options say otherwise.
   */
  readonly sandbox?: SandboxOptions;
  readonly onStdout?: (text: string) => void;
  readonly onStderr?: (text: string) => void;
}

/** The machine-readable end of one run. */
export interface CodeReport {
  readonly status: CodeStatus;
  readonly stdout: string;
  readonly stderr: string;
  readonly results: readonly Result[];
  readonly error?: ExecutionError;
  readonly exitCode?: number;
  /** What the policy did not let it do. */
  readonly denials: readonly CodeDenial[];
  readonly limits: {
    /** Limits that it ran into. */
    readonly hit: readonly LimitName[];
    readonly peakMemoryBytes?: number;
    readonly cpuMs?: number;
    readonly peakPids?: number;
  };
  readonly truncated: boolean;
  /** Milliseconds of the code, without the sandbox around it. */
  readonly durationMs: number;
}

/**
 * What the code left running gets this long to end, and goes on getting it while it becomes more, in ms: a fork bomb of a shell is one line
 * that returns at once, and in a kernel of its own it takes seconds until it meets its limit.
 */
const LINGER_MS = { still: 500, most: 5000, step: 50 } as const;

/** What it may say meanwhile, in characters. */
const LATE_CHARACTERS = 1 << 20;

/**
 * Runs code in a fresh sandbox that is destroyed afterwards. Whatever the code does is an answer; only what Glovebox itself cannot
 * do is thrown.
 *
 * @throws E_CODE_LANGUAGE, E_USAGE, E_ABORTED, and what `Sandbox.create` throws
 */
export async function runCodeOnce(input: CodeOnce): Promise<CodeReport> {
  const refused: NetworkEvent[] = [];
  const options = input.sandbox ?? {};
  const sandbox = await Sandbox.create({
    ...options,
    ...(options.workspace === undefined ? { temporary: true } : {}),
    profile: [options.profile ?? [], 'code'].flat(),
    onNetwork: (event) => {
      if (event.action === 'deny') refused.push(event);
      options.onNetwork?.(event);
    },
  });
  try {
    const { view } = sandbox.plan;
    const execution = await runGuarded(sandbox, input);
    return report(input.language ?? 'python', execution, { end: await sandbox.kill(), refused, view });
  } finally {
    await sandbox.kill();
  }
}

/** A limit may take the whole sandbox: then that is how the code ended. */
async function runGuarded(sandbox: Sandbox, input: CodeOnce): Promise<Execution> {
  const said = new Said(input);
  const { cwd, language = 'python' } = input;
  const context = await sandbox.createCodeContext({
    language,
    ...(cwd === undefined ? {} : { cwd }),
    onBackground: (stream, text) => said.late(stream, text),
  });
  const started = performance.now();
  try {
    const execution = await runWatched(sandbox, context, { ...input, ...said.callbacks });
    return { ...execution, logs: said.logs() };
  } catch (error) {
    if (!isLost(error) || input.sandbox?.signal?.aborted === true) throw error;
    return {
      results: [],
      logs: said.logs(),
      executionCount: 1,
      timedOut: false,
      contextLost: true,
      truncated: false,
      durationMs: Math.round(performance.now() - started),
    };
  }
}

/** The sandbox is over, by itself or by a limit that it passed as a whole. */
function isLost(error: unknown): boolean {
  if (!isGloveboxError(error)) return false;
  return error.code.startsWith('E_SANDBOX_') || error.context['limits'] !== undefined;
}

/** Keeps what the code wrote, also when its sandbox is lost, and passes it on. */
class Said {
  readonly #pieces = { stdout: new Array<string>(), stderr: new Array<string>() };
  readonly #input: CodeOnce;
  #late = 0;
  readonly callbacks = {
    onStdout: (text: string): void => this.#add('stdout', text),
    onStderr: (text: string): void => this.#add('stderr', text),
  };

  constructor(input: CodeOnce) {
    this.#input = input;
  }

  late(stream: 'stdout' | 'stderr', text: string): void {
    const room = Math.max(0, LATE_CHARACTERS - this.#late);
    this.#late += text.length;
    if (room > 0) this.#add(stream, text.slice(0, room));
  }

  logs(): Execution['logs'] {
    return this.#pieces;
  }

  #add(stream: 'stdout' | 'stderr', text: string): void {
    this.#pieces[stream].push(text);
    if (stream === 'stdout') this.#input.onStdout?.(text);
    else this.#input.onStderr?.(text);
  }
}

async function runWatched(
  sandbox: Sandbox,
  context: CodeContext,
  { code, sandbox: options, onStdout, onStderr }: CodeOnce,
): Promise<Execution> {
  const before = (await sandbox.processes()).length;
  const execution = await sandbox.runCode(code, {
    context,
    // A policy that has none says that there is to be none.
    timeoutMs: sandbox.plan.limits.timeoutMs ?? 0,
    ...(options?.signal === undefined ? {} : { signal: options.signal }),
    ...(onStdout === undefined ? {} : { onStdout }),
    ...(onStderr === undefined ? {} : { onStderr }),
  });
  // However that goes, the code itself has ended.
  await awaitLeftovers(sandbox, before).catch(() => undefined);
  return execution;
}

async function awaitLeftovers(sandbox: Sandbox, before: number): Promise<void> {
  const started = performance.now();
  let most = before;
  for (let end = LINGER_MS.still; performance.now() - started < Math.min(end, LINGER_MS.most);) {
    const now = await countProcesses(sandbox);
    if (now !== undefined && now <= before) return;
    if (now === undefined || now > most) end = performance.now() - started + LINGER_MS.still;
    most = Math.max(most, now ?? 0);
    await delay(LINGER_MS.step);
  }
}

/** Undefined when there are so many that the answer does not come in time. */
async function countProcesses(sandbox: Sandbox): Promise<number | undefined> {
  try {
    return (await sandbox.processes({ signal: AbortSignal.timeout(LINGER_MS.still) })).length;
  } catch (error) {
    if (isGloveboxError(error) && error.code === 'E_ABORTED') return undefined;
    throw error;
  }
}

interface Seen {
  readonly end: EndReport;
  readonly refused: readonly NetworkEvent[];
  readonly view: readonly Mount[];
}

function report(language: CodeLanguage, execution: Execution, { end, refused, view }: Seen): CodeReport {
  const { error, exitCode, limit, logs, results, truncated, durationMs } = execution;
  const hit = [...new Set([...end.usage.hit, ...(limit === undefined ? [] : [limit])])];
  const evidence = { language, execution, hit, refused, view };
  return {
    status: statusOf(evidence),
    stdout: logs.stdout.join(''),
    stderr: logs.stderr.join(''),
    results,
    ...(error === undefined ? {} : { error }),
    ...(exitCode === undefined ? {} : { exitCode }),
    denials: denialsOf(evidence),
    limits: { ...end.usage, hit },
    truncated,
    durationMs,
  };
}
