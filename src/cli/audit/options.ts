import { parseArgs } from 'node:util';
import { isEventKind, EVENT_SPECS } from '../../audit/events/index.ts';
import type { EventKind } from '../../audit/contract.ts';
import { GloveboxError } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';

/** What follows `glovebox audit`. */
export interface AuditArgs {
  readonly verb: string | undefined;
  readonly words: readonly string[];
  readonly follow: boolean;
  readonly count: number | undefined;
  readonly kinds: readonly EventKind[] | undefined;
  readonly sinceMs: number | undefined;
  readonly expectHead: { readonly hash: string; readonly seq: number } | undefined;
}

export function parseAuditArgs(args: readonly string[]): AuditArgs {
  const { values, positionals } = parse(args);
  const [verb, ...words] = positionals;
  return {
    verb,
    words,
    follow: values.follow === true,
    count: values.lines === undefined ? undefined : parseCount(values.lines),
    kinds: values.kind?.map(parseKind),
    sinceMs: values.since === undefined ? undefined : parseSince(values.since, Date.now()),
    expectHead: values['expect-head'] === undefined ? undefined : parseHead(values['expect-head']),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        follow: { type: 'boolean', short: 'f' },
        lines: { type: 'string', short: 'n' },
        kind: { type: 'string', short: 'k', multiple: true },
        since: { type: 'string' },
        'expect-head': { type: 'string' },
      },
    });
  } catch (error) {
    throw usage(error instanceof Error ? error.message : String(error), 'Run `glovebox help audit`.');
  }
}

function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usage(`--lines ${text} is not a number`, 'Use: --lines 50');
}

function parseKind(text: string): EventKind {
  if (isEventKind(text)) return text;
  const known = Object.keys(EVENT_SPECS);
  const near = nearest(text, known);
  throw usage(
    `there is no kind "${text}"`,
    near === undefined ? `Kinds: ${known.join(', ')}` : `Did you mean ${near}?`,
  );
}

const UNITS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `10m`, `2h`, `7d` before now, or a date. */
export function parseSince(text: string, nowMs: number): number {
  const ago = /^(\d{1,9})([smhd])$/.exec(text);
  if (ago !== null) return nowMs - Number(ago[1]) * (UNITS[ago[2] ?? 's'] ?? 1000);
  const date = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(date)) return date;
  throw usage(
    `--since ${text} is neither a time nor a span`,
    'Use: --since 2h, or --since 2030-01-31T12:00:00Z',
  );
}

function parseHead(text: string): { readonly hash: string; readonly seq: number } {
  const match = /^([0-9a-f]{64}):(\d{1,15})$/.exec(text);
  if (match?.[1] !== undefined) return { hash: match[1], seq: Number(match[2]) };
  throw usage(
    `--expect-head ${text} is not HASH:SEQ`,
    'Use the head that an earlier `glovebox audit verify` printed.',
  );
}

export function usage(what: string, next: string): GloveboxError {
  return new GloveboxError('E_USAGE', { what, next });
}
