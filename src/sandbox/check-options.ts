import { GloveboxError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import type { SandboxOptions } from './options.ts';

/** Every option there is: the compiler holds it complete. */
const OPTIONS: Readonly<Record<keyof SandboxOptions, true>> = {
  name: true,
  metadata: true,
  profile: true,
  policy: true,
  workspace: true,
  temporary: true,
  review: true,
  tier: true,
  driver: true,
  image: true,
  allow: true,
  read: true,
  write: true,
  deny: true,
  envs: true,
  limits: true,
  warmUp: true,
  publish: true,
  timeoutMs: true,
  idleTimeoutMs: true,
  signal: true,
  onNetwork: true,
  onAsk: true,
  onPause: true,
  transport: true,
  hostEnv: true,
};

const TIERS = ['process', 'container', 'vm', 'vm+gvisor', 'auto'] as const;

/**
 * Callers without types, or with a slip of the keyboard: an option that is ignored may be the wall that somebody counts on.
 *
 * @throws E_USAGE
 */
export function checkOptions(options: SandboxOptions): void {
  for (const name of Object.keys(options))
    if (!Object.hasOwn(OPTIONS, name)) throw unknown('option', name, Object.keys(OPTIONS));
  const { tier } = options;
  if (tier !== undefined && !TIERS.some((known) => known === tier)) throw unknown('tier', tier, TIERS);
}

function unknown(what: string, name: string, known: readonly string[]): GloveboxError {
  const near = nearest(name, known);
  return new GloveboxError('E_USAGE', {
    what: `there is no ${what} "${name.slice(0, 100)}"`,
    next: near === undefined ? `Use one of ${known.join(', ')}.` : `Did you mean ${near}?`,
  });
}
