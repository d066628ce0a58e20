import { execFileSync } from 'node:child_process';
import { GloveboxError } from '../../base/errors.ts';
import { findProgram, type HostProgram } from '../find-program.ts';

/** Needed for --disable-userns (0.8); --size and --perms came with 0.5 and 0.6. */
export const MINIMUM_VERSION = '0.8.0';

const BUBBLEWRAP: HostProgram = {
  name: 'bwrap',
  title: 'bubblewrap',
  variable: 'GLOVEBOX_BWRAP',
  usualPlaces: ['/usr/bin/bwrap', '/usr/local/bin/bwrap'],
};

/** What looking for bubblewrap found. */
export interface BubblewrapProbe {
  readonly usable: boolean;
  readonly path?: string;
  readonly version?: string;
  readonly why?: string;
  readonly fix?: string;
}

/**
 * Where bubblewrap is: `GLOVEBOX_BWRAP`, the usual places, then the PATH. A directory of the workspace is never looked
 * into: a repository could bring a `bwrap` of its own.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export function findBubblewrap(env: NodeJS.ProcessEnv, workspace: string): string {
  const found = findProgram(BUBBLEWRAP, env, workspace);
  if ('why' in found) throw missing(found.why);
  return found.path;
}

/** Looks at the version too; for `doctor`. */
export function probeBubblewrap(env: NodeJS.ProcessEnv): BubblewrapProbe {
  try {
    const found = findBubblewrap(env, '/nonexistent');
    const text = execFileSync(found, ['--version'], { encoding: 'utf8', timeout: 5_000 });
    const version = /(\d+)\.(\d+)\.(\d+)/.exec(text)?.[0];
    if (version === undefined || isOlder(version, MINIMUM_VERSION)) {
      return {
        usable: false,
        path: found,
        why: `version ${version ?? 'unknown'} is older than ${MINIMUM_VERSION}`,
        fix: INSTALL,
      };
    }
    return { usable: true, path: found, version };
  } catch (error) {
    return { usable: false, why: error instanceof Error ? error.message : String(error), fix: INSTALL };
  }
}

const INSTALL = 'sudo apt-get install bubblewrap';

function missing(why: string): GloveboxError {
  return new GloveboxError('E_TIER_UNAVAILABLE', {
    what: 'the process tier cannot start',
    why,
    next: `Run: ${INSTALL}`,
  });
}

/** Compares dotted numbers. */
export function isOlder(version: string, than: string): boolean {
  const a = version.split('.').map(Number);
  const b = than.split('.').map(Number);
  for (let i = 0; i < 3; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
