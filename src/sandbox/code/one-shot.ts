import type { NetworkEvent } from '../../gateway/contract.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { EndReport } from '../end.ts';
import type { SandboxOptions } from '../options.ts';
import { Sandbox } from '../sandbox.ts';
import type { CodeLanguage, Execution, ExecutionError, Result } from './contract.ts';
import { denialsOf, statusOf, type CodeDenial, type CodeStatus } from './verdict.ts';

export interface CodeOnce {
  readonly code: string;
  readonly language: CodeLanguage;
  /** Of the sandbox that is made for this and destroyed afterwards. */
  readonly sandbox: SandboxOptions;
  /** Milliseconds for the code itself; default 60,000. */
  readonly timeoutMs?: number;
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
 * Runs code in a fresh sandbox that is destroyed afterwards. Whatever the code does is an answer; only what Glovebox itself cannot
 * do is thrown.
 */
export async function runCodeOnce(input: CodeOnce): Promise<CodeReport> {
  const refused: NetworkEvent[] = [];
  const sandbox = await Sandbox.create({
    ...input.sandbox,
    onNetwork: (event) => {
      if (event.action === 'deny') refused.push(event);
      input.sandbox.onNetwork?.(event);
    },
  });
  try {
    const execution = await runGuarded(sandbox, input);
    return report(input.language, execution, { end: await sandbox.kill(), refused });
  } finally {
    await sandbox.kill();
  }
}

/** A limit may take the whole sandbox: then that is how the code ended. */
async function runGuarded(sandbox: Sandbox, input: CodeOnce): Promise<Execution> {
  const { language, timeoutMs, onStdout, onStderr } = input;
  const started = performance.now();
  try {
    return await sandbox.runCode(input.code, {
      language,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(onStdout === undefined ? {} : { onStdout }),
      ...(onStderr === undefined ? {} : { onStderr }),
    });
  } catch (error) {
    if (!(await endedByItself(sandbox))) throw error;
    return {
      results: [],
      logs: { stdout: [], stderr: [] },
      executionCount: 1,
      timedOut: false,
      contextLost: true,
      truncated: false,
      durationMs: Math.round(performance.now() - started),
    };
  }
}

function endedByItself(sandbox: Sandbox): Promise<boolean> {
  const pending = new Promise<false>((resolve) => {
    setImmediate(() => resolve(false));
  });
  return Promise.race([sandbox.closed.then(() => true), pending]);
}

function report(
  language: CodeLanguage,
  execution: Execution,
  seen: { readonly end: EndReport; readonly refused: readonly NetworkEvent[] },
): CodeReport {
  const { usage } = seen.end;
  const evidence = { language, execution, hit: usage.hit, refused: seen.refused };
  const { error, exitCode, logs, results, truncated, durationMs } = execution;
  return {
    status: statusOf(evidence),
    stdout: logs.stdout.join(''),
    stderr: logs.stderr.join(''),
    results,
    ...(error === undefined ? {} : { error }),
    ...(exitCode === undefined ? {} : { exitCode }),
    denials: denialsOf(evidence),
    limits: usage,
    truncated,
    durationMs,
  };
}
