import { lastOf, logsOf } from './evidence.ts';
import type { Phrase } from './checks.ts';
import { denialRule } from './outcome.ts';

/** Text that a terminal or a line reader would act on. */
// oxlint-disable-next-line no-control-regex -- that is what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

function valuesOf(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  if (Array.isArray(value)) return value.flatMap(valuesOf);
  if (typeof value === 'object' && value !== null) return Object.values(value).flatMap(valuesOf);
  return [];
}

/** Phrases about records. */
export const logChecks: readonly Phrase[] = [
  {
    pattern: /severity high|high event|alarm(?!ed)/,
    check: (result) =>
      lastOf(result).stage.requests.some(({ alarm }) => alarm === true)
        ? undefined
        : 'no record with an alarm',
  },
  {
    pattern: /audit (?:reason|says)/,
    check: (result) => {
      const step = lastOf(result);
      return denialRule(step.stage, step.before) === undefined ? 'nothing on record' : undefined;
    },
  },
  {
    pattern: /without the (?:key )?value|values? absent|redacted/,
    check: (result) => {
      const { stage } = lastOf(result);
      const named = Object.entries(stage.strings).filter(([name]) =>
        JSON.stringify(result.row.input).includes(name),
      );
      return named.find(([, value]) => value.length > 8 && logsOf(stage).includes(value))?.[0];
    },
  },
  {
    pattern: /escaped|exactly one JSON line/,
    check: (result) => {
      const { stage } = lastOf(result);
      if (stage.requests.length > 1) return 'more than one record';
      return valuesOf([stage.bench.events, stage.requests]).find((text) => CONTROL.test(text));
    },
  },
  {
    pattern: /line at most (\d+) KiB/,
    check: (result, match) => {
      const { stage } = lastOf(result);
      const lines = [...stage.bench.events, ...stage.requests].map((record) => JSON.stringify(record).length);
      return Math.max(0, ...lines) <= Number(match[1]) * 1_024 ? undefined : `${Math.max(...lines)} bytes`;
    },
  },
  {
    pattern: /token absent from log and reply/,
    check: (result) => {
      const { stage, reply } = lastOf(result);
      const text = logsOf(stage) + reply.toString('latin1');
      const token = stage.strings['SANDBOX_TOKEN'] ?? '';
      return text.includes(token) || text.includes(Buffer.from(`x:${token}`).toString('base64'))
        ? 'the token'
        : undefined;
    },
  },
  {
    pattern: /event has /,
    check: (result) => {
      // Time, sandbox, number and hash are the audit writer's; the gateway gives the rest.
      const event: object = lastOf(result).stage.bench.events.at(-1) ?? {};
      return ['action', 'rule', 'reason', 'host', 'port', 'entry'].find((key) => !(key in event));
    },
  },
];
