import { lstatSync, readdirSync, type BigIntStats } from 'node:fs';
import { setImmediate as breathe } from 'node:timers/promises';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { fsPath, pathFromBytes, printablePath } from '../../base/path-bytes.ts';

/** A tree or file of the host, and where it stands in the guest. */
export interface RootPart {
  /** Absolute, on the host. */
  readonly source: string;
  /** Absolute, in the guest; `/` for a whole root. */
  readonly target: string;
}

export interface SurveyRules {
  /** Whether a file or directory may be in the root. */
  readonly allows: (stat: BigIntStats) => boolean;
  /** Paths in the guest that are left out, whatever they are. */
  readonly leavesOut: (target: string) => boolean;
  /** Directories in the guest that stay without what is in them. */
  readonly empties: (target: string) => boolean;
  /** Called for every entry that stays. */
  readonly visit?: (target: string, stat: BigIntStats) => void;
}

/** What a root will hold. */
export interface RootSurvey {
  readonly entries: number;
  readonly bytes: number;
  /** Paths in the guest, without the leading slash, of what is left out; what lies below goes with it. */
  readonly excluded: readonly string[];
}

/** Calls in a row before the rest of the process gets its turn. */
const TURN = 256;

/** Each is an argument of one program, and compared with every file. */
const EXCLUDED = 2_000;

/**
 * Walks what a root is made from; no symlink is followed.
 *
 * @throws E_IMAGE_TOO_LARGE for more than a base system may have, E_ABORTED
 */
export async function surveyRoot(
  parts: readonly RootPart[],
  rules: SurveyRules,
  signal?: AbortSignal,
): Promise<RootSurvey> {
  const survey = new Survey(rules, signal);
  for (const { source, target } of parts) await survey.add(source, target, 0);
  return survey;
}

class Survey implements RootSurvey {
  entries = 0;
  bytes = 0;
  readonly excluded: string[] = [];
  readonly #rules: SurveyRules;
  readonly #signal: AbortSignal | undefined;

  constructor(rules: SurveyRules, signal: AbortSignal | undefined) {
    this.#rules = rules;
    this.#signal = signal;
  }

  async add(source: string, target: string, depth: number): Promise<void> {
    const stat = statOf(source);
    if (stat === undefined) return;
    if (this.#rules.leavesOut(target) || !this.#rules.allows(stat)) return this.#exclude(target);
    await this.#count(target, stat, depth);
    if (!stat.isDirectory() || this.#rules.empties(target)) return;
    for (const name of namesIn(source)) await this.add(below(source, name), below(target, name), depth + 1);
  }

  async #count(target: string, stat: BigIntStats, depth: number): Promise<void> {
    this.entries += 1;
    if (stat.isFile()) this.bytes += Number(stat.size);
    if (this.entries > CAPS.imageEntries) throw tooLarge(`more than ${CAPS.imageEntries} files`);
    if (this.bytes > CAPS.imageBytes) throw tooLarge(`more than ${CAPS.imageBytes} bytes`);
    if (depth > CAPS.imageDepth) throw tooLarge(`directories deeper than ${CAPS.imageDepth}`);
    this.#rules.visit?.(target, stat);
    if (this.entries % TURN !== 0) return;
    await breathe();
    if (this.#signal?.aborted === true)
      throw new GloveboxError('E_ABORTED', { what: 'the start was aborted' });
  }

  #exclude(target: string): void {
    // A name that is no UTF-8 cannot be an argument: its directory goes, which has one.
    let path = target;
    while (/[\uDC80-\uDCFF]/.test(path)) path = path.slice(0, path.lastIndexOf('/'));
    if (path === '' || path === '/')
      throw new GloveboxError('E_IMAGE_INVALID', {
        what: 'nothing of this base system may be read',
        why: printablePath(target),
      });
    this.excluded.push(path.slice(1));
    if (this.excluded.length > EXCLUDED)
      throw tooLarge(`more than ${EXCLUDED} files that have to be left out`);
  }
}

function tooLarge(why: string): GloveboxError {
  return new GloveboxError('E_IMAGE_TOO_LARGE', {
    what: "the base system is too large for a guest's root",
    why,
  });
}

const below = (dir: string, name: string): string => (dir === '/' ? `/${name}` : `${dir}/${name}`);

function statOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(fsPath(path), { bigint: true, throwIfNoEntry: false });
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return undefined;
  }
}

/** Sorted, so that the same tree is always told in the same order. */
function namesIn(dir: string): readonly string[] {
  try {
    return readdirSync(fsPath(dir), { encoding: 'buffer' }).map(pathFromBytes).sort();
  } catch (error) {
    if (systemCode(error) === undefined) throw error;
    return [];
  }
}
