import type { PeerCertificate } from 'node:tls';
import type { RawAnswer } from '../h2-wire.ts';
import { sleep } from '../kit.ts';
import type { Finding, Phrase } from './checks.ts';
import { arrivedIn, downstreamIn, holds, lastOf, readable, realValues, upstreamIn } from './evidence.ts';
import { header } from './http-text.ts';
import type { ArrivedRequest } from './origin.ts';
import type { Step } from './outcome.ts';
import type { Result } from './run.ts';
import { headerChecks } from './checks-headers.ts';
import { dnsChecks } from './checks-dns.ts';

const blocked = (step: Step | undefined): boolean => step !== undefined && step.outcome !== 'allow';

function statusIs(step: Step | undefined, wanted: number): Finding {
  const answers = step?.facts?.['answers'] as RawAnswer[] | undefined;
  const got = answers?.at(-1)?.status ?? step?.status;
  return got === wanted ? undefined : `status ${got}`;
}

function dialledIn(result: Result): string[] {
  return result.steps.flatMap(({ stage }) => stage.bench.dialled.map(({ address }) => address));
}

/** The gateway lets go of what it used; a moment later than the answer. */
async function isLetGo(step: Step): Promise<Finding> {
  const used = step.stage.origin.arrivals.slice(step.before.arrivals).filter(({ plain }) => plain.length > 0);
  for (let i = 0; i < 100 && used.some(({ closed }) => !closed); i++) await sleep(5);
  return used.every(({ closed }) => closed) ? undefined : 'the upstream connection is still open';
}

/** Basic credentials of the last request. */
function basicOf(request: ArrivedRequest | undefined): string {
  const value = request === undefined ? '' : (header(request, 'authorization') ?? '');
  return Buffer.from(/^Basic (.*)$/i.exec(value)?.[1] ?? '', 'base64').toString('latin1');
}

function secretsUpstream(step: Step): Finding {
  return holds(upstreamIn(step), realValues(step.stage));
}

const statusChecks: readonly Phrase[] = [
  { pattern: /^(\d{3})$/, check: (result, match) => statusIs(lastOf(result), Number(match[1])) },
  {
    pattern: /second(?: request)? (\d{3})/,
    check: (result, match) => statusIs(lastOf(result).followed ?? lastOf(result), Number(match[1])),
  },
  {
    pattern: /stream \d+ (?:allow|\d{3}).*/,
    check: (result, match) => {
      const answers = lastOf(result).facts?.['answers'] as RawAnswer[];
      for (const [, id, wanted] of match[0].matchAll(/stream (\d+) (allow|\d{3})/g)) {
        const got = answers[(Number(id) - 1) / 2]?.status;
        if (got !== Number(wanted === 'allow' ? 200 : wanted)) return `stream ${id}: ${got}`;
      }
      return undefined;
    },
  },
  {
    pattern: /first (allow|transform|deny)/,
    check: ({ steps }, match) =>
      blocked(steps[0]) === (match[1] === 'deny') ? undefined : `first ${steps[0]?.outcome}`,
  },
  {
    pattern: /(\d)\d\d-class/,
    check: (result, match) => {
      const { status = 0 } = lastOf(result);
      return Math.floor(status / 100) === Number(match[1]) ? undefined : `status ${status}`;
    },
  },
  {
    pattern: /gets (\d{3})/,
    check: (result, match) => statusIs(lastOf(result), Number(match[1])),
  },
  {
    pattern: /grpc-status (\d+), or HTTP (\d+)|grpc-status trailer arrives|RESOURCE_EXHAUSTED or reset/,
    check: (result, match) => {
      const answer = (lastOf(result).facts?.['answers'] as RawAnswer[] | undefined)?.at(-1);
      if (match[0].startsWith('RESOURCE'))
        return answer?.grpcStatus === 8 || answer?.reset !== undefined ? undefined : JSON.stringify(answer);
      const wanted = match[1] === undefined ? 0 : Number(match[1]);
      const isHttp = match[2] !== undefined && answer?.status === Number(match[2]);
      return answer?.grpcStatus === wanted || isHttp ? undefined : JSON.stringify(answer);
    },
  },
  {
    pattern: /reply 0x0(\d)/,
    check: (result, match) => {
      const code = lastOf(result).reply.at(3);
      return code === Number(match[1]) ? undefined : `reply ${code}`;
    },
  },
  {
    pattern: /GOAWAY/,
    check: (result) => (lastOf(result).facts?.['goaway'] === undefined ? 'no GOAWAY' : undefined),
  },
  {
    pattern: /other sandboxes unaffected/,
    check: (result) => {
      const status = lastOf(result).facts?.['otherStatus'];
      return status === 200 ? undefined : `another connection got ${String(status)}`;
    },
  },
  {
    pattern: /no 100 before/,
    check: (result) => ((lastOf(result).replies?.interim.length ?? 0) > 0 ? 'an interim answer' : undefined),
  },
  {
    pattern: /(\w+) limited, (\w+) served/,
    check: ({ steps }) => (blocked(steps[0]) && !blocked(steps.at(-1)) ? undefined : 'not so'),
  },
  { pattern: /is cut$/, check: (result) => (blocked(lastOf(result)) ? undefined : 'it passed') },
  { pattern: /^forwarded$/, check: (result) => (blocked(lastOf(result)) ? 'refused' : undefined) },
  {
    pattern: /^denied/,
    check: (result) => (blocked(lastOf(result).followed ?? lastOf(result)) ? undefined : 'it passed'),
  },
];

const pathChecks: readonly Phrase[] = [
  {
    pattern: /never dialled|, never (?:\d+\.){3}\d+/,
    check: (result, match) => {
      const text = match.input;
      const named = [...text.matchAll(/(?:\d{1,3}\.){3}\d{1,3}|::1\b/g)].map(([address]) => address);
      return named.find((address) => dialledIn(result).includes(address));
    },
  },
  {
    pattern: /dialled address is (\S+)/,
    check: (result, match) => dialledIn(result).find((address) => address !== match[1]),
  },
  {
    pattern: /only (\S+) is dialled/,
    check: (result, match) => {
      const known = result.run.suite.file.fixtures.names[match[1] ?? '']?.A ?? [];
      return dialledIn(result).find((address) => !known.includes(address));
    },
  },
  {
    pattern: /second answer is never used/,
    check: (result) =>
      dialledIn(result).find((address) => !(result.row.input.answers ?? []).includes(address)),
  },
  {
    pattern: /no connection to (\S+)|nothing dialled/,
    check: (result) => {
      const { stage, before, followed } = lastOf(result);
      const since = followed?.before.dialled ?? before.dialled + 1;
      const asked = stage.bench.asked.find((name) => !name.endsWith('.allowed.test'));
      return stage.bench.dialled.length > since ? 'another connection was opened' : asked;
    },
  },
  {
    pattern: /no certificate for (\S+) is ever signed/,
    check: (result, match) => {
      const certificate = lastOf(result).facts?.['certificate'] as Partial<PeerCertificate> | undefined;
      return certificate?.subjectaltname?.includes(match[1] ?? '') === true ? 'there is one' : undefined;
    },
  },
  {
    pattern: /certificate is for (\S+)/,
    check: (result, match) => {
      const certificate = lastOf(result).facts?.['certificate'] as Partial<PeerCertificate> | undefined;
      return certificate?.subjectaltname === `DNS:${match[1]}`
        ? undefined
        : String(certificate?.subjectaltname);
    },
  },
  {
    pattern: /dial name, SNI, minted certificate, Host and log all carry (\S+) without the dot/,
    check: (result, match) => {
      const { bench, origin } = lastOf(result).stage;
      const hosts = [
        ...bench.events.map(({ host }) => host),
        ...origin.arrivals.flatMap(({ sni }) => sni ?? []),
      ];
      const own = hosts.find((host) => host.endsWith('.'));
      return own ?? bench.asked.find((name) => name !== match[1] && name !== `${match[1]}.`);
    },
  },
  {
    // The cap itself has a test of its own (tls/authority.test.ts): here the last of many names is still served.
    pattern: /cache size stays at its cap/,
    check: (result) => (blocked(lastOf(result)) ? 'the last name is refused' : undefined),
  },
  {
    pattern: /delivered once, in order/,
    check: (result) => {
      const { stage, sent } = lastOf(result);
      return stage.origin.arrivals[0]?.raw.equals(sent) === true ? undefined : 'other bytes arrived';
    },
  },
  {
    pattern: /not reused|never pooled|closed after the exchange/,
    check: (result) => isLetGo(lastOf(result)),
  },
  {
    pattern: /closed within (\d+) s/,
    check: (result, match) => {
      const ms = Number(lastOf(result).facts?.['closedWithinMs'] ?? Number.NaN);
      return ms <= Number(match[1]) * 1_000 ? undefined : `${ms} ms`;
    },
  },
  {
    pattern: /at most (\d+) MiB/,
    check: (result, match) => {
      const bytes = lastOf(result).stage.origin.arrivals.reduce((sum, { plain }) => sum + plain.length, 0);
      return bytes <= Number(match[1]) * 1_048_576 + 131_072 ? undefined : `${bytes} bytes`;
    },
  },
  {
    pattern: /(?:both sides|connection) closed/,
    check: async (result) => {
      const step = lastOf(result);
      const wire = step.facts?.['wire'];
      const isClosed = (): boolean =>
        step.closed ||
        (typeof wire === 'object' && wire !== null && 'closed' in wire && wire.closed === true);
      for (let i = 0; i < 100 && !isClosed(); i++) await sleep(5);
      return isClosed() ? undefined : 'the client is still connected';
    },
  },
];

const secretChecks: readonly Phrase[] = [
  {
    pattern: /real (?:secret|key) (?:is )?(?:nowhere|not|never)/,
    check: (result) => secretsUpstream(lastOf(result)),
  },
  {
    pattern: /neither the secret nor an encoded form/,
    check: (result) => holds(readable(lastOf(result)), realValues(lastOf(result).stage)),
  },
  {
    pattern: /no credential\b/,
    check: ({ steps }) => {
      const { followed } = steps.at(-1) ?? {};
      if (followed === undefined) return 'the client did not follow';
      return arrivedIn(followed).length > 0 ? 'a second request arrived' : secretsUpstream(followed);
    },
  },
  {
    pattern: /new value upstream/,
    check: (result) => {
      const step = lastOf(result);
      const { strings } = step.stage;
      const name = result.row.input.steps?.find(({ op }) => op === 'rotate')?.credential ?? '';
      const upstream =
        upstreamIn(step) +
        arrivedIn(step)
          .map(({ raw }) => raw.toString('latin1'))
          .join('');
      if (upstream.includes(strings[`${name}_FORMER`] ?? '\0')) return 'the former value';
      return upstream.includes(strings[`${name}_REAL`] ?? '\0') ? undefined : 'not there';
    },
  },
  {
    pattern: /Basic of (\w+):\$\{(\w+)\}/,
    check: (result, [, user, name = '']) => {
      const step = lastOf(result);
      const wanted = `${user}:${step.stage.strings[name]}`;
      return basicOf(arrivedIn(step).at(-1)) === wanted ? undefined : 'another pair';
    },
  },
  {
    pattern: /Basic password replaced/,
    check: (result) => {
      const step = lastOf(result);
      const password = basicOf(arrivedIn(step).at(-1)).split(':')[1] ?? '';
      return realValues(step.stage).includes(password) ? undefined : 'not replaced';
    },
  },
  {
    pattern: /Authorization (?:reaches the origin|present)/,
    check: (result) => {
      const [request] = arrivedIn(lastOf(result));
      if (request === undefined) return undefined;
      const value = header(request, 'authorization') ?? '';
      if (/authorization/i.test(header(request, 'connection') ?? '')) return 'Connection names it';
      return realValues(lastOf(result).stage).some((secret) => value.includes(secret))
        ? undefined
        : `"${value}"`;
    },
  },
  {
    pattern: /(?:^|[;,:] )(?:no byte (?:reaches )?upstream|nothing (?:goes )?upstream)/,
    check: (result) => {
      const step = lastOf(result);
      const { origin } = step.stage;
      const bytes = origin.arrivals
        .slice(step.before.arrivals)
        .reduce((sum, { plain }) => sum + plain.length, 0);
      return bytes > 0 || arrivedIn(step).length > 0 ? downstreamIn(step).slice(0, 80) : undefined;
    },
  },
];

/** Phrases about what was said on which wire. */
export const wireChecks: readonly Phrase[] = [
  ...statusChecks,
  ...pathChecks,
  ...secretChecks,
  ...headerChecks,
  ...dnsChecks,
];
