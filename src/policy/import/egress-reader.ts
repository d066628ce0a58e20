import { nearest } from '../../base/nearest.ts';
import { formatPath, type PathStep } from '../parse.ts';
import { quoteValue } from '../problems.ts';
import { isMapping } from './srt-shapes.ts';

/** One key that cannot be carried over, or is wrong as it stands. */
export interface EgressProblem {
  readonly path: readonly PathStep[];
  /** The path as people write it. */
  readonly key: string;
  readonly found?: string;
  readonly expected?: string;
  readonly why?: string;
  readonly nearest?: string;
}

type Mapping = Readonly<Record<string, unknown>>;
type Path = readonly PathStep[];

/** Reads foreign values: whatever does not fit is noted with its place, and the reader goes on. */
export class EgressReader {
  readonly problems: EgressProblem[] = [];
  readonly notices: string[] = [];

  fail(path: Path, facts: Omit<EgressProblem, 'path' | 'key'>): void {
    this.problems.push({ path, key: formatPath(path), ...facts });
  }

  /** What is written has no equal. */
  refuse(path: Path, why: string): void {
    this.fail(path, { why: `it cannot be carried over: ${why}` });
  }

  note(path: Path, text: string): void {
    const line = `${formatPath(path)}: ${text}`;
    if (!this.notices.includes(line)) this.notices.push(line);
  }

  /** A mapping with no other keys than these; undefined when it is none. */
  mapping(value: unknown, path: Path, known: readonly string[]): Mapping | undefined {
    if (!isMapping(value)) {
      this.fail(path, { found: quoteValue(value), expected: 'a mapping' });
      return undefined;
    }
    for (const key of Object.keys(value).filter((name) => !known.includes(name))) {
      const near = nearest(key, known);
      this.fail([...path, key], {
        why: `there is no such key; known here: ${known.join(', ')}`,
        ...(near === undefined ? {} : { nearest: near }),
      });
    }
    return value;
  }

  list(value: unknown, path: Path, expected = 'a list'): readonly unknown[] {
    if (Array.isArray(value)) return value;
    this.fail(path, { found: quoteValue(value), expected });
    return [];
  }

  texts(value: unknown, path: Path): readonly string[] {
    return this.list(value, path, 'a list of text').flatMap((item, i) => this.text(item, [...path, i]) ?? []);
  }

  text(value: unknown, path: Path): string | undefined {
    if (typeof value === 'string') return value;
    this.fail(path, { found: quoteValue(value), expected: 'text' });
    return undefined;
  }

  number(value: unknown, path: Path): number | undefined {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    this.fail(path, { found: quoteValue(value), expected: 'a whole number' });
    return undefined;
  }

  flag(value: unknown, path: Path): boolean | undefined {
    if (typeof value === 'boolean') return value;
    this.fail(path, { found: quoteValue(value), expected: 'true or false' });
    return undefined;
  }

  /** One of a few words. */
  word<const T extends readonly string[]>(value: unknown, path: Path, words: T): T[number] | undefined {
    const found = words.find((word) => word === value);
    if (found === undefined)
      this.fail(path, { found: quoteValue(value), expected: `one of ${words.join(', ')}` });
    return found;
  }

  /** A setting that may only say what holds here anyway. */
  only(value: unknown, path: Path, allowed: readonly unknown[], why: string): void {
    if (!allowed.some((one) => JSON.stringify(one) === JSON.stringify(value))) this.refuse(path, why);
  }
}

/** The members of a mapping that are written, with their paths. */
export function members(value: Mapping, path: Path): readonly (readonly [string, unknown, Path])[] {
  return Object.entries(value).map(([key, member]) => [key, member, [...path, key]] as const);
}
