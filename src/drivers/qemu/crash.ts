import type { JailExit } from '../../agent/airlock.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import type { LimitName } from '../../policy/contract.ts';
import type { EarlyEnd } from './again.ts';
import type { ConsoleTail } from './console.ts';

/** How a machine came to its end. */
export interface MachineEnd {
  /** What executed it, for people. */
  readonly hypervisor: string;
  readonly exit: JailExit;
  readonly tail: ConsoleTail;
  /** Limits that were passed, on the host or in the guest. */
  readonly hit: readonly LimitName[];
  /** Why we ended it, where we did. */
  readonly verdict?: string;
}

/** A machine is a process like others: a limit of the jail ends it, and its kernel can panic or hang. */
export function crashError({ exit, tail, hit, verdict, hypervisor }: MachineEnd): GloveboxError {
  if (hit.length > 0) {
    return new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `the sandbox passed its limit: ${hit.join(', ')}`,
      context: { limits: hit },
    });
  }
  const said = tail.lastWords();
  return new GloveboxError('E_SANDBOX_CRASHED', {
    what: verdict === undefined ? 'the machine ended by itself' : `the machine was ended: ${verdict}`,
    why: said || `${hypervisor} ended with ${exit.signal ?? exit.code}`,
    context: { code: exit.code, signal: exit.signal },
  });
}

/** `told`: the machine knows which sandbox it is. @throws E_SANDBOX_START always */
export async function died({
  tail,
  exit: { code, signal },
  hypervisor,
  told,
}: Pick<MachineEnd, 'tail' | 'exit' | 'hypervisor'> & { readonly told: boolean }): Promise<never> {
  const words = tail.lastWords();
  const early: EarlyEnd = { silent: !told && code === 0 && words === '' };
  throw new GloveboxError('E_SANDBOX_START', {
    what: 'the machine ended while it started',
    why: words || `${hypervisor} ended with ${signal ?? code}`,
    context: { ...early },
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
