import { parseArgs, type ParseArgsConfig } from 'node:util';
import { GloveboxError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import type { CommandLineLayer } from '../../policy/contract.ts';
import { parseRun } from '../options.ts';

type Options = NonNullable<ParseArgsConfig['options']>;

export interface VerbArgs {
  readonly values: ReturnType<typeof parseArgs>['values'];
  readonly words: readonly string[];
}

/**
 * Options and words of one verb.
 *
 * @throws E_USAGE with the nearest option
 */
export function verbArgs(verb: string, args: readonly string[], options: Options): VerbArgs {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options,
      allowPositionals: true,
      strict: true,
    });
    return { values, words: positionals };
  } catch (error) {
    throw usageError(verb, error, Object.keys(options));
  }
}

/** Checks the number of words. */
export function expectWords(verb: string, words: readonly string[], most: number): void {
  if (words.length <= most) return;
  const what = most === 0 ? 'takes no further words' : `takes at most ${most}`;
  throw new GloveboxError('E_USAGE', {
    what: `policy ${verb} ${what}: ${words.slice(most).join(' ')}`,
    next: 'Run `glovebox help policy`.',
  });
}

/** The options of `run` that shape the policy, for verbs that show a policy. */
export function layerArgs(verb: string, args: readonly string[]): CommandLineLayer {
  const parsed = parseRun(args);
  expectWords(verb, parsed.command, 0);
  return parsed.layer;
}

function usageError(verb: string, error: unknown, known: readonly string[]): GloveboxError {
  const message = error instanceof Error ? error.message : String(error);
  const option = /'(-[^' ]*)/.exec(message)?.[1];
  const isUnknown =
    error instanceof Error && 'code' in error && error.code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION';
  const near =
    option === undefined || !isUnknown
      ? undefined
      : nearest(
          option,
          known.map((name) => `--${name}`),
        );
  return new GloveboxError('E_USAGE', {
    what:
      isUnknown && option !== undefined
        ? `policy ${verb} has no option ${option}`
        : `policy ${verb}: ${message.split('\n')[0]}`,
    next: near === undefined ? 'Run `glovebox help policy`.' : `Did you mean ${near}?`,
  });
}
