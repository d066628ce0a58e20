import type { Phrase } from './checks.ts';
import { lastOf } from './evidence.ts';

const RCODES: Readonly<Record<string, number>> = {
  NODATA: 0,
  FORMERR: 1,
  SERVFAIL: 2,
  NXDOMAIN: 3,
  NOTIMP: 4,
  REFUSED: 5,
};
const NAMES = Object.keys(RCODES).join('|');

/** The private option of every question with EDNS, and client subnet. */
const OPTIONS = [Buffer.from([0xfd, 0xe9]), Buffer.from([0, 8, 0, 7])];

/** Phrases about the name server. */
export const dnsChecks: readonly Phrase[] = [
  {
    pattern: new RegExp(`(?:${NAMES})(?: or (?:${NAMES}|drop))*`),
    check: (result, match) => {
      const { reply } = lastOf(result);
      if (reply.length === 0) return /drop/.test(match[0]) ? undefined : 'no answer';
      const allowed = new Set([...match[0].matchAll(new RegExp(NAMES, 'g'))].map(([name]) => RCODES[name]));
      const code = (reply[3] ?? 0) & 0xf;
      // Refusing to say is never less than saying that there is nothing.
      return allowed.has(code) || (allowed.has(5) && code === 3) ? undefined : `rcode ${code}`;
    },
  },
  {
    pattern: /no (?:recursive )?query (?:leaves|before)|answered by the gateway itself/,
    check: (result) => lastOf(result).stage.bench.asked[0],
  },
  {
    pattern: /A in (\d+)\.(\d+)\.0\.0\/15/,
    check: (result, match) => {
      const [first = 0, second = 0] = lastOf(result).reply.subarray(-4);
      const isIn = first === Number(match[1]) && (second & 0xfe) === Number(match[2]);
      return isIn ? undefined : `${first}.${second}…`;
    },
  },
  {
    pattern: /no option copied|client-subnet/,
    check: (result) =>
      OPTIONS.some((option) => lastOf(result).reply.includes(option)) ? 'an option' : undefined,
  },
];
