import { parseArgs } from 'node:util';

export interface Options {
  /** Subjects by name; none means all. */
  readonly names: readonly string[];
  /** Instead of each subject's own count. */
  readonly rounds?: number;
  readonly peer: boolean;
  readonly markdown: boolean;
  readonly help: boolean;
  /** No round of a subject begins after this many milliseconds. */
  readonly budgetMs: number;
}

export const USAGE = [
  'Usage: npm run bench [-- [options] [NAME…]]',
  '',
  '  --rounds N      samples of every arm, instead of each subject’s own count',
  '  --budget SEC    no round of a subject begins after this long (default 300)',
  '  --no-peer       leave srt out, and do not install it',
  '  --markdown      print tables for a document',
  '',
  'Subjects:',
].join('\n');

/** @throws TypeError for an unknown option, RangeError for a number that is none. */
export function readOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: 'string' },
      budget: { type: 'string', default: '300' },
      'no-peer': { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  return {
    names: positionals,
    ...(values.rounds === undefined ? {} : { rounds: positive('--rounds', values.rounds) }),
    peer: !values['no-peer'],
    markdown: values.markdown,
    help: values.help,
    budgetMs: positive('--budget', values.budget) * 1000,
  };
}

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new RangeError(`${option} needs a whole number above 0, not ${text}`);
  return value;
}
