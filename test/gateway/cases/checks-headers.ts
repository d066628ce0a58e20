import type { Finding, Phrase } from './checks.ts';
import { arrivedIn, downstreamIn, lastOf, upstreamIn } from './evidence.ts';
import { header } from './http-text.ts';
import type { Step } from './outcome.ts';

/** Headers of an ordinary request; "header" in a phrase means one that is not among them. */
const ORDINARY = new Set([
  'host',
  'content-length',
  'content-type',
  'transfer-encoding',
  'connection',
  'authorization',
  'accept',
  'user-agent',
]);

function sentHeaders(step: Step): string[] {
  const [head = ''] = step.sent.toString('latin1').split('\r\n\r\n');
  return head
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(':')[0]?.trim().toLowerCase() ?? '');
}

/** A header or trailer in anything that arrived. */
function headerUpstream(step: Step, name: string): Finding {
  const pattern = new RegExp(`^${name.replace('*', '[\\w-]*')}:`, 'im');
  const heads = [upstreamIn(step), ...arrivedIn(step).map(({ raw }) => raw.toString('latin1'))];
  return heads.some((text) => pattern.test(text)) ? `${name} upstream` : undefined;
}

/** What a word of a phrase stands for. */
function checkAbsent(step: Step, word: string): Finding {
  if (/^header$/i.test(word)) {
    for (const name of sentHeaders(step)) {
      const found = ORDINARY.has(name) ? undefined : headerUpstream(step, name);
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (/^extension$/i.test(word)) return headerUpstream(step, 'sec-websocket-extensions');
  if (/^trailer$/i.test(word)) {
    const text = step.sent.toString('latin1');
    const trailers = /\r\n0\r\n([\s\S]*)$/.exec(text)?.[1] ?? '';
    const lines = trailers.split('\r\n').filter((line) => line !== '');
    return lines.find((line) => upstreamIn(step).includes(line));
  }
  if (!/^[A-Z_a-z][\w-]*\*?$/.test(word) || /^(it|this|key|secret|value|query)$/i.test(word))
    return undefined;
  return headerUpstream(step, word);
}

/** Phrases about single headers, and about how a message is written. */
export const headerChecks: readonly Phrase[] = [
  {
    pattern: /(?<!real )(?<!nothing )\b([\w*-]+) (?:is )?(?:not|never)(?: offered)? upstream/,
    check: (result, match) => checkAbsent(lastOf(result), match[1] ?? ''),
  },
  {
    pattern: /no ([\w*-]+)(?: header)? upstream/,
    check: (result, match) => checkAbsent(lastOf(result), match[1] ?? ''),
  },
  {
    pattern: /^never upstream|, never upstream/,
    check: (result) => {
      const key = lastOf(result).stage.strings['ATTACKER_KEY'] ?? '\0';
      return upstreamIn(lastOf(result)).includes(key) ? 'the foreign key' : undefined;
    },
  },
  {
    pattern: /(?:nothing of it|smuggled one|from the stream).*(?:upstream|never|forwarded)/,
    check: (result) => {
      const step = lastOf(result);
      const all = arrivedIn(step).map(({ start, headers }) => `${start} ${JSON.stringify(headers)}`);
      return all.find((text) => text.includes('evil.test') || / \/v1\/files/.test(text));
    },
  },
  {
    pattern: /at most one request/,
    check: (result) => (arrivedIn(lastOf(result)).length > 1 ? 'more than one' : undefined),
  },
  {
    pattern: /origin never gets a complete request/,
    check: (result) => arrivedIn(lastOf(result))[0]?.start,
  },
  {
    pattern: /no ([\w-]+) downstream/,
    check: (result, match) => {
      const pattern = new RegExp(`^${match[1]}:`, 'im');
      return pattern.test(downstreamIn(lastOf(result))) ? match[1] : undefined;
    },
  },
  {
    pattern: /client gets the first only|nothing of it downstream/,
    check: (result) => {
      const { replies } = lastOf(result);
      if (replies === undefined) return 'no answer';
      const isAlone = replies.responses.length === 1 && replies.rest.length === 0;
      return isAlone
        ? undefined
        : `${replies.responses.length} answers, then "${replies.rest.toString('latin1', 0, 40)}"`;
    },
  },
  {
    pattern: /never two headers downstream from one upstream line/,
    check: (result) => (/\nset-cookie/i.test(downstreamIn(lastOf(result))) ? 'two headers' : undefined),
  },
  {
    pattern: /no tunnel/,
    check: (result) => {
      const step = lastOf(result);
      return step.status === 101 ? 'a tunnel' : headerUpstream(step, 'upgrade');
    },
  },
  {
    pattern: /only inside the same upstream connection/,
    check: (result) => (lastOf(result).stage.origin.arrivals.length > 1 ? 'another connection' : undefined),
  },
  {
    pattern: /sent upstream in origin-form|canonical path upstream|one space upstream/,
    check: (result) => {
      const start = arrivedIn(lastOf(result))[0]?.start;
      if (start === undefined) return undefined;
      const isClean =
        /^[A-Z]+ \/\S* HTTP\/[\d.]+$/.test(start) &&
        !/\/\.\.?(?:\/| )|\/\//.test(start.replace(/ HTTP.*/, ' '));
      return isClean ? undefined : start;
    },
  },
  {
    pattern: /(%\S+) kept as sent/,
    check: (result, match) => {
      const start = arrivedIn(lastOf(result))[0]?.start ?? '';
      return start.includes(match[1] ?? '') ? undefined : start;
    },
  },
  {
    pattern: /re-framed upstream/,
    check: (result) => {
      const [request] = arrivedIn(lastOf(result));
      if (request === undefined) return undefined;
      const coding = header(request, 'transfer-encoding');
      return coding === undefined || coding === 'chunked' ? undefined : coding;
    },
  },
  {
    pattern: /^bounded/,
    check: (result) =>
      (lastOf(result).replies?.interim.length ?? 0) > 20 ? 'every interim answer' : undefined,
  },
];
