import type { JailExit } from '../../agent/airlock.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { ConsoleTail } from './console.ts';

/** How a machine came to its end. */
export interface MachineEnd {
  readonly exit: JailExit;
  readonly tail: ConsoleTail;
  /** Limits that were passed, on the host or in the guest. */
  readonly hit: readonly LimitName[];
  /** Why we ended it, where we did. */
  readonly verdict?: string;
}

/** A machine is a process like others: a limit of the jail ends it, and its kernel can panic or hang. */
export function crashError({ exit, tail, hit, verdict }: MachineEnd): GloveboxError {
  if (hit.length > 0) {
    return new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `the sandbox passed its limit: ${hit.join(', ')}`,
      context: { limits: hit },
    });
  }
  const said = tail.lastWords();
  return new GloveboxError('E_SANDBOX_CRASHED', {
    what: verdict === undefined ? 'the machine ended by itself' : `the machine was ended: ${verdict}`,
    why: said || `QEMU ended with ${exit.signal ?? exit.code}`,
    context: { code: exit.code, signal: exit.signal },
  });
}

/** @throws E_SANDBOX_START always */
export async function died(tail: ConsoleTail, { code, signal }: JailExit): Promise<never> {
  throw new GloveboxError('E_SANDBOX_START', {
    what: 'the machine ended while it started',
    why: tail.lastWords() || `QEMU ended with ${signal ?? code}`,
  });
}

/** A start that failed without a reason has one on the console. */
export function withConsole(error: unknown, tail: ConsoleTail): unknown {
  const why = tail.lastWords();
  if (why === '' || !isGloveboxError(error) || error.code !== 'E_SANDBOX_START' || error.why !== undefined)
    return error;
  return new GloveboxError('E_SANDBOX_START', { what: error.what, why, cause: error });
}

/** One that ended has more to say on its console than on its channel; one that says something else than it should may never end. */
export async function orViolation(error: unknown, dead: Promise<never>): Promise<never> {
  if (isGloveboxError(error) && error.code === 'E_PROTOCOL') throw error;
  return dead;
}
