import { GloveboxError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';

/** Options of one verb, and how they take values. */
export type OptionTable = Readonly<Record<string, 'switch' | 'once' | 'many'>>;

export interface ParsedWords {
  readonly words: readonly string[];
  has(name: string): boolean;
  /** The value of an option that is given once. */
  one(name: string): string | undefined;
  all(name: string): readonly string[];
}

/** Reads `--name VALUE`, `--name=VALUE`, `-t VALUE` and plain words in any order. @throws E_USAGE */
export function parseWords(args: readonly string[], table: OptionTable, verb = 'image'): ParsedWords {
  const words: string[] = [];
  const options = new Map<string, string[]>();
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] ?? '';
    if (!arg.startsWith('-') || arg === '-') {
      words.push(arg);
      continue;
    }
    const [name, inline] = splitOption(arg);
    const kind = table[name];
    if (kind === undefined) throw unknown(name, table, verb);
    const earlier = options.get(name) ?? [];
    if (earlier.length > 0 && kind !== 'many')
      throw new GloveboxError('E_USAGE', { what: `${name} was given twice` });
    const value = kind === 'switch' ? 'true' : (inline ?? args[++i]);
    if (value === undefined || (kind === 'switch' && inline !== undefined))
      throw new GloveboxError('E_USAGE', {
        what: `${name} ${kind === 'switch' ? 'takes no' : 'needs a'} value`,
      });
    options.set(name, [...earlier, value]);
  }
  const all = (name: string): readonly string[] => options.get(name) ?? [];
  return { words, all, has: (name) => options.has(name), one: (name) => all(name)[0] };
}

function splitOption(arg: string): readonly [string, string | undefined] {
  const equals = arg.startsWith('--') ? arg.indexOf('=') : -1;
  return equals === -1 ? [arg, undefined] : [arg.slice(0, equals), arg.slice(equals + 1)];
}

function unknown(name: string, table: OptionTable, verb: string): GloveboxError {
  const near = nearest(name, Object.keys(table));
  return new GloveboxError('E_USAGE', {
    what: `there is no option ${name}`,
    next: near === undefined ? `See \`glovebox help ${verb}\`.` : `Did you mean ${near}?`,
  });
}
