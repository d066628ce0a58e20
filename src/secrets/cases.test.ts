import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Broker, CredentialVerdict } from './contract.ts';
import { credential, placeholder, rawRequest, SECRETS, testBroker } from './fixture.ts';

/** Kept outside the repository: the development half of the gateway's case file. */
const FILE = path.resolve(import.meta.dirname, '../../../shared/data/egress-cases-dev.json');

interface Case {
  readonly id: string;
  readonly layer: string;
  readonly why: string;
  readonly expect: string;
  readonly accept?: readonly string[];
  readonly input: {
    readonly op: string;
    readonly raw?: string;
    readonly request?: string;
    readonly response?: string;
    readonly steps?: readonly { readonly op: string; readonly raw?: string }[];
  };
}

/** Decided before the broker is asked: paths, methods, headers and bodies that the rule itself refuses, and broken framing. */
const GATEWAY: ReadonlySet<string> = new Set([
  ...['P37', 'P38', 'P40', 'P41', 'P42', 'P43', 'P44', 'P45', 'P46', 'P48'],
  ...['K22', 'K23', 'K24', 'K44', 'K47', 'P73', 'X11'],
]);

function readCases(): readonly Case[] {
  try {
    return (JSON.parse(readFileSync(FILE, 'utf8')) as { cases: Case[] }).cases;
  } catch {
    return [];
  }
}

const rows = readCases().filter(
  ({ layer, id }) => ['pin', 'credential', 'redirect-ssrf'].includes(layer) && !GATEWAY.has(id),
);

describe.skipIf(rows.length === 0)('the case file', () => {
  let broker: Broker;
  let other: Broker;
  let values: Record<string, string>;

  beforeAll(async () => {
    broker = await testBroker();
    other = await testBroker();
    values = {
      LLM_PH: placeholder(broker, 'LLM'),
      LLM_REAL: SECRETS.LLM,
      GH_PH: placeholder(broker, 'GH'),
      GH_REAL: SECRETS.GH,
      ATTACKER_KEY: SECRETS.ATTACKER,
      OTHER_SANDBOX_PH: placeholder(other, 'LLM'),
    };
  });
  afterAll(() => {
    broker.dispose();
    other.dispose();
  });

  const fill = (text: string): string =>
    text
      .replace(/\$\{gzip:\$\{(\w+)\}\}/, (_, name: string) => gzipSync(values[name] ?? '').toString('latin1'))
      .replaceAll(/\$\{([^{}]+)\}/g, (_, word: string) => expand(word));
  const expand = (word: string): string => {
    const [f = '', ...args] = word.split(':');
    const value = (name: string | undefined): string => values[name ?? ''] ?? name ?? '';
    if (f === 'b64') return Buffer.from(`${value(args[0])}:${value(args[1])}`).toString('base64');
    if (f === 'hex') return Buffer.from(value(args[0])).toString('hex');
    if (f === 'slice') return value(args[0]).slice(Number(args[1]), Number(args[2]));
    return value(f === 'split' ? args[0] : f);
  };
  const blocked = (verdict: CredentialVerdict): boolean => verdict.state === 'refuse';

  it.each(rows.filter(({ input }) => input.op === 'http' || input.op === 'proxy'))(
    '$id $why',
    async ({ input, expect: wanted, accept = [] }) => {
      const facts = input.op === 'proxy' ? { secure: false } : {};
      const raw = fill(input.raw ?? '')
        .replace('http://', '')
        .replace(/^(\S+ )[^/ ]+/, '$1');
      const verdict = await broker.authorize(rawRequest(raw, facts));
      const allowed = [wanted, ...accept];
      expect(allowed, JSON.stringify(verdict)).toContain(
        blocked(verdict)
          ? (allowed.find((word) => word === 'deny' || word === 'reject') ?? 'deny')
          : 'transform',
      );
      const text = JSON.stringify(verdict);
      if (verdict.state === 'refuse') {
        for (const value of Object.values(values)) expect(text).not.toContain(value);
      } else expect(text).not.toContain(values['GH_PH']);
    },
  );

  it.each(rows.filter(({ input }) => input.op === 'response'))('$id $why', async ({ input }) => {
    const verdict = await broker.authorize(rawRequest(fill(input.request ?? '')));
    expect(verdict.state).toBe('pass');
    const [head = '', ...bodies] = fill(input.response ?? '').split('\r\n\r\n');
    const scrubber = broker.scrubber('git.allowed.test', 443);
    if (scrubber === undefined) throw new Error('nothing to scrub');
    const headers = scrubber.headers(
      head
        .split('\r\n')
        .slice(1)
        .flatMap((line) => line.split(': ')),
    );
    const body = Buffer.from(bodies.join('\r\n\r\n'), 'latin1');
    const out = [scrubber.update(body.subarray(0, 9)), scrubber.update(body.subarray(9)), scrubber.end()];
    const seen = headers.join('\n') + Buffer.concat(out).toString('latin1');
    const decoded = Buffer.from(/[A-Za-z0-9+/=]{20,}/.exec(seen)?.[0] ?? '', 'base64').toString('latin1');
    for (const text of [seen, decoded]) {
      expect(text).not.toContain(SECRETS.GH);
      expect(text).not.toContain(Buffer.from(SECRETS.GH).toString('hex'));
    }
  });

  it('P49 every request of a connection is judged', async () => {
    const steps = rows.find(({ id }) => id === 'P49')?.input.steps ?? [];
    const verdicts = await Promise.all(steps.map(({ raw }) => broker.authorize(rawRequest(fill(raw ?? '')))));
    expect(verdicts.map(({ state }) => state)).toEqual(['pass', 'refuse']);
  });

  it('K45 a rotated secret is used by the next request, and the former one is still known', async () => {
    const env: Record<string, string> = { GH: SECRETS.GH };
    const rotating = await testBroker({ hostEnv: env, credentials: gh() });
    env['GH'] = 'ghp_NEWNEWNEWNEWNEWNEWNEWNEWNEWNEWNEWNEW';
    await rotating.refresh('GH');
    const headers = `Authorization: Bearer ${placeholder(rotating, 'GH')}`;
    const raw = `GET /org/repo HTTP/1.1\r\nHost: git.allowed.test\r\n${headers}\r\n\r\n`;
    const verdict = await rotating.authorize(rawRequest(raw));
    expect(verdict).toMatchObject({ state: 'pass', pin: 'ok', credential: 'GH' });
    expect(JSON.stringify(verdict)).toContain(env['GH']);
    const leak = await rotating.authorize(rawRequest(raw.replace(placeholder(rotating, 'GH'), SECRETS.GH)));
    expect(leak).toMatchObject({
      state: 'refuse',
      alarm: true,
      verdict: { rule: 'structural.credential.revoked' },
    });
    rotating.dispose();
  });

  it('K46 a source that fails closes', async () => {
    const env: Record<string, string> = { GH: SECRETS.GH };
    const failing = await testBroker({ hostEnv: env, credentials: gh() });
    delete env['GH'];
    await expect(failing.refresh('GH')).rejects.toMatchObject({ code: 'E_CREDENTIAL_SOURCE' });
    const verdict = await failing.authorize(
      rawRequest(
        `GET /org/repo HTTP/1.1\r\nHost: git.allowed.test\r\nAuthorization: Bearer ${placeholder(failing, 'GH')}\r\n\r\n`,
      ),
    );
    expect(verdict).toMatchObject({
      state: 'refuse',
      status: 502,
      verdict: { rule: 'structural.credential.source' },
    });
    failing.dispose();
  });
});

function gh(): ReturnType<typeof credential>[] {
  return [credential('GH', { paths: ['/org/**'] })];
}
