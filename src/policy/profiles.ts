import { readdirSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError } from '../base/errors.ts';
import { nearest } from '../base/nearest.ts';
import { packageRoot } from '../base/version.ts';
import type { SourcePosition } from '../base/errors.ts';

/** The profile under every policy that names none. */
export const DEFAULT_PROFILE = 'default';

/** Where the built-in profiles stand, in the source tree and in an installed package alike. */
export function profileDir(): string {
  return path.join(packageRoot(), 'src', 'policy', 'profiles');
}

/** Names of the built-in profiles, sorted. */
export function profileNames(): readonly string[] {
  return readdirSync(profileDir())
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => name.slice(0, -'.yaml'.length))
    .sort();
}

/**
 * The file of a built-in profile.
 *
 * @throws E_PROFILE_UNKNOWN with the nearest name
 */
export function profileFile(name: string, position?: SourcePosition): string {
  const known = profileNames();
  if (known.includes(name)) return path.join(profileDir(), `${name}.yaml`);
  const near = nearest(name, known);
  const place = position === undefined ? '' : `${position.file}:${position.line}:${position.column}: `;
  throw new GloveboxError('E_PROFILE_UNKNOWN', {
    what: `${place}there is no profile ${JSON.stringify(name.slice(0, 80))}`,
    next:
      near === undefined
        ? `Use one of ${known.join(', ')}.`
        : `Did you mean ${near}? All: ${known.join(', ')}.`,
    context: { name, known, ...(position === undefined ? {} : { position }) },
  });
}
