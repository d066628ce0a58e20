import { createHash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { systemCode } from '../../base/errors.ts';
import type { SystemFact } from '../../drivers/view.ts';
import { sealOf } from '../cache/seal.ts';

/** Written whenever a package manager changes the system. */
const PACKAGE_DATABASES = [
  '/var/lib/dpkg/status',
  '/var/lib/rpm/rpmdb.sqlite',
  '/usr/lib/sysimage/rpm/rpmdb.sqlite',
  '/lib/apk/db/installed',
  '/var/lib/pacman/local',
];

/** What packages install lies under the eyes of their manager; directories this far down show what was added beside them. */
const SYSTEM_DEPTH = 2;
/** What people install by hand; deep enough for `lib/python3.11/dist-packages/NAME`. */
const LOCAL = '/usr/local';
const LOCAL_DEPTH = 4;
/** Looked at below `LOCAL`, nearest first: each costs some microseconds of every start. */
const LOCAL_ENTRIES = 500;

/**
 * A text that changes when the host's system does, without a look at all of its files (a walk over 185,000 takes seconds): the state of the package
 * databases, of the shown entries, of the directories of /usr down to two levels, and of the first 500 files and directories below
 * /usr/local down to four.
 *
 * It misses a file further down that was overwritten in place or added by hand; `glovebox image prune` makes the next start look anew.
 */
export function hostKey(system: readonly SystemFact[]): string {
  const hash = createHash('sha256');
  const note = (file: string, ...more: readonly string[]): void =>
    void hash.update(`${[file, sealOf(file) ?? '-', ...more].join('\0')}\n`);
  for (const file of PACKAGE_DATABASES) note(file);
  for (const fact of system) {
    // Put together from what follows: what else comes and goes there does not show.
    if (fact.dir === true) continue;
    if (fact.link === undefined) note(fact.source, fact.path);
    else hash.update(`${fact.path} -> ${fact.link}\n`);
    if (fact.path === '/usr') for (const dir of entriesBelow('/usr', SYSTEM_DEPTH, 'directories')) note(dir);
  }
  for (const file of entriesBelow(LOCAL, LOCAL_DEPTH, 'all')) note(file);
  return hash.digest('hex');
}

/** Breadth first, so that a bound cuts what is furthest down. */
function entriesBelow(top: string, depth: number, which: 'all' | 'directories'): readonly string[] {
  const found: string[] = [];
  let level = [top];
  for (let i = 0; i < depth && level.length > 0; i++) {
    const entries = level.flatMap(listed);
    const next = entries.filter((entry) => entry.isDirectory);
    found.push(...(which === 'all' ? entries : next).map((entry) => entry.file));
    if (which === 'all' && found.length >= LOCAL_ENTRIES) return found.slice(0, LOCAL_ENTRIES);
    level = next.map((entry) => entry.file);
  }
  return found;
}

function listed(dir: string): readonly { readonly file: string; readonly isDirectory: boolean }[] {
  try {
    return readdirSync(dir, { withFileTypes: true })
      .map((entry) => ({ file: path.join(dir, entry.name), isDirectory: entry.isDirectory() }))
      .sort((one, other) => (one.file < other.file ? -1 : 1));
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return [];
  }
}
