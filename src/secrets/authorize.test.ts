import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CredentialPolicy } from '../policy/contract.ts';
import type { Broker, CredentialVerdict } from './contract.ts';
import {
  apiKey,
  basic,
  bearer,
  credential,
  GH,
  LLM,
  placeholder,
  rawRequest,
  request,
  rule,
  SECRETS,
  testBroker,
} from './fixture.ts';

const HOST = 'own.test';
const HOME = { hosts: [{ host: HOST, port: 443 }] };
const SECRET = 'own+secret/value=1';

/** A broker for one credential with these places, on a rule that is not pinned. */
async function brokerWith(
  places: CredentialPolicy['places'],
  more: Partial<CredentialPolicy> = {},
): Promise<Broker> {
  const own = credential('OWN', { ...HOME, places, ...more });
  return testBroker({ credentials: [own, GH], hostEnv: { OWN: SECRET, GH: SECRETS.GH } });
}

const unpinned = { rule: rule(HOST, { credentials: ['OWN'] }) };
const pinned = { rule: rule(HOST, { credentials: ['OWN'], pin: { credential: 'OWN', require: true } }) };

function refusal(verdict: CredentialVerdict): string {
  return verdict.state === 'refuse' ? verdict.verdict.rule : verdict.state;
}

describe('putting a secret in', () => {
  let broker: Broker;
  afterEach(() => broker.dispose());

  it('replaces exactly the value, and never appends', async () => {
    broker = await brokerWith([apiKey]);
    const sent = request(
      HOST,
      '/a?b=1',
      { 'X-Api-Key': placeholder(broker, 'OWN'), Accept: '*/*' },
      unpinned,
    );
    expect(await broker.authorize(sent)).toEqual({
      state: 'pass',
      target: '/a?b=1',
      headers: ['Host', HOST, 'X-Api-Key', SECRET, 'Accept', '*/*'],
      credential: 'OWN',
    });
  });

  it('percent-encodes a query value', async () => {
    broker = await brokerWith([{ kind: 'query', name: 'key' }]);
    const sent = request(HOST, `/a?x=%20&key=${placeholder(broker, 'OWN')}&y=2`, {}, pinned);
    expect(await broker.authorize(sent)).toMatchObject({
      target: '/a?x=%20&key=own%2Bsecret%2Fvalue%3D1&y=2',
      pin: 'ok',
    });
    const disguised = request(HOST, `/a?%6bey=${placeholder(broker, 'OWN')}`, {}, pinned);
    expect(refusal(await broker.authorize(disguised))).toBe('structural.credential.misplaced');
  });

  it('replaces one cookie among others, which a pinned host does not take', async () => {
    broker = await brokerWith([{ kind: 'cookie', name: 'sid' }]);
    const cookie = `theme=dark; sid=${placeholder(broker, 'OWN')}; lang=en`;
    const verdict = await broker.authorize(request(HOST, '/', { Cookie: cookie }, unpinned));
    expect(verdict).toMatchObject({
      headers: ['Host', HOST, 'Cookie', `theme=dark; sid=${SECRET}; lang=en`],
    });
    expect(refusal(await broker.authorize(request(HOST, '/', { Cookie: cookie }, pinned)))).toBe(
      'structural.pin.foreign',
    );
  });

  it('replaces a subprotocol, plain and base64url', async () => {
    broker = await brokerWith([{ kind: 'ws-protocol' }]);
    const own = placeholder(broker, 'OWN');
    const coded = (text: string): string => Buffer.from(text).toString('base64url');
    const header = (text: string, tail: string): Record<string, string> => ({
      'Sec-WebSocket-Protocol': `realtime, openai-insecure-api-key.${text}, base64url.bearer.authorization.k8s.io.${tail}`,
    });
    const verdict = await broker.authorize(request(HOST, '/', header(own, coded(own)), unpinned));
    expect(verdict).toMatchObject({
      headers: ['Host', HOST, 'Sec-WebSocket-Protocol', Object.values(header(SECRET, coded(SECRET)))[0]],
    });
    expect(refusal(await broker.authorize(request(HOST, '/', header(own, coded(own)), pinned)))).toBe(
      'structural.pin.multiple',
    );
  });

  it('replaces one half of a Basic pair, and lets no token stand beside it', async () => {
    broker = await brokerWith([basic]);
    const own = placeholder(broker, 'OWN');
    const coded = (pair: string): Record<string, string> => ({
      Authorization: `Basic ${Buffer.from(pair).toString('base64')}`,
    });
    for (const [sent, wanted] of [
      [`user:${own}`, `user:${SECRET}`],
      [`${own}:`, `${SECRET}:`],
    ] as const) {
      const verdict = await broker.authorize(request(HOST, '/', coded(sent), pinned));
      expect(verdict).toMatchObject({
        headers: ['Host', HOST, 'Authorization', coded(wanted)['Authorization']],
      });
    }
    for (const pair of [`${SECRETS.ATTACKER}:${own}`, `${own}:other-password`])
      expect(refusal(await broker.authorize(request(HOST, '/', coded(pair), pinned)))).toBe(
        'structural.pin.foreign',
      );
    expect(refusal(await broker.authorize(request(HOST, '/', coded(`${own}:${own}`), pinned)))).toBe(
      'structural.credential.misplaced',
    );
  });

  it('replaces whole values of a JSON or form body, with the right escapes', async () => {
    broker = await brokerWith([{ kind: 'body' }], { sources: { value: { kind: 'env', name: 'QUOTED' } } });
    broker.dispose();
    broker = await testBroker({
      credentials: [credential('OWN', { ...HOME, places: [{ kind: 'body' }] })],
      hostEnv: { OWN: 'quote"back\\slash&x=1' },
    });
    const own = placeholder(broker, 'OWN');
    const send = async (type: string, body: string): Promise<CredentialVerdict> => {
      const sent = request(HOST, '/', { 'Content-Type': type }, { ...pinned, body: Buffer.from(body) });
      expect(broker.wantsBody(sent)).toBe(true);
      return broker.authorize(sent);
    };
    const json = await send('application/json', `{"a":"${own}" , "b":["${own}",1]}`);
    expect(json).toMatchObject({ state: 'pass', pin: 'ok' });
    if (json.state === 'pass')
      expect(JSON.parse(json.body?.toString() ?? '')).toEqual({
        a: 'quote"back\\slash&x=1',
        b: ['quote"back\\slash&x=1', 1],
      });
    const form = await send('application/x-www-form-urlencoded', `t=${own}&u=2`);
    if (form.state === 'pass')
      expect(new URLSearchParams(form.body?.toString()).get('t')).toBe('quote"back\\slash&x=1');
    expect(form.state).toBe('pass');
    for (const body of [`{"a":"say ${own}"}`, `{"${own}":1}`, `{"a":"\\"${own}\\""}`, `{"a":"${own}"`])
      expect(refusal(await send('application/json', body)), body).toMatch(/misplaced|missing/);
    expect(broker.wantsBody(request(HOST, '/', { 'Content-Type': 'text/plain' }, pinned))).toBe(false);
  });

  it('asks for an identity reply without ranges where it scrubs', async () => {
    broker = await brokerWith([bearer]);
    const headers = {
      Authorization: `Bearer ${placeholder(broker, 'OWN')}`,
      Range: 'bytes=1-2',
      'Accept-Encoding': 'gzip',
    };
    const verdict = await broker.authorize(request(HOST, '/', headers, unpinned));
    expect(verdict).toMatchObject({
      headers: ['Host', HOST, 'Authorization', `Bearer ${SECRET}`, 'accept-encoding', 'identity'],
    });
  });

  it('takes a second credential of the rule in its own place beside the pinned one', async () => {
    const app = credential('APP', { ...HOME, places: [{ kind: 'header', name: 'dd-application-key' }] });
    const own = credential('OWN', { ...HOME, places: [apiKey] });
    broker = await testBroker({ credentials: [own, app], hostEnv: { OWN: SECRET, APP: 'second+secret/2' } });
    const facts = {
      rule: rule(HOST, { credentials: ['OWN', 'APP'], pin: { credential: 'OWN', require: true } }),
    };
    const headers = {
      'x-api-key': placeholder(broker, 'OWN'),
      'dd-application-key': placeholder(broker, 'APP'),
    };
    expect(await broker.authorize(request(HOST, '/', headers, facts))).toMatchObject({
      state: 'pass',
      pin: 'ok',
      credential: 'OWN, APP',
    });
    const alone = request(HOST, '/', { 'dd-application-key': placeholder(broker, 'APP') }, facts);
    expect(refusal(await broker.authorize(alone))).toBe('structural.pin.missing');
  });
});

describe('refusing', () => {
  let broker: Broker;
  beforeEach(async () => {
    broker = await testBroker({ credentials: [GH, LLM] });
  });
  afterEach(() => broker.dispose());

  const ask = async (host: string, headers: Record<string, string>, target = '/org/x'): Promise<string> =>
    refusal(await broker.authorize(request(host, target, headers)));

  it('a secret from inside, in any coding and on any host', async () => {
    const coded = [
      SECRETS.GH,
      Buffer.from(SECRETS.GH).toString('base64'),
      Buffer.from(`x:${SECRETS.GH}`).toString('base64url'),
      Buffer.from(SECRETS.GH).toString('hex').toUpperCase(),
      encodeURIComponent(SECRETS.GH).replaceAll('_', '%255F'),
    ];
    for (const value of coded) {
      expect(await ask('elsewhere.test', { 'X-Note': value }), value).toBe('structural.credential.leak');
      expect(await ask('elsewhere.test', {}, `/p/${value.replaceAll('/', '%2F')}`), value).toBe(
        'structural.credential.leak',
      );
    }
    const body = Buffer.from(JSON.stringify({ a: SECRETS.GH }));
    const verdict = await broker.authorize(request('elsewhere.test', '/', {}, { body }));
    expect(verdict).toMatchObject({ state: 'refuse', status: 403, alarm: true });
  });

  it('a placeholder in the wrong place, host, path, port, or in clear text', async () => {
    const own = `Bearer ${placeholder(broker, 'GH')}`;
    expect(await ask('git.allowed.test', { Authorization: own })).toBe('pass');
    expect(await ask('git.allowed.test', { Authorization: own }, '/other/x')).toBe(
      'structural.credential.misplaced',
    );
    expect(await ask('git.allowed.test:8443', { Authorization: own })).toBe(
      'structural.credential.misplaced',
    );
    expect(await ask('elsewhere.test', { Authorization: own })).toBe('structural.credential.misplaced');
    expect(await ask('git.allowed.test', { 'User-Agent': own })).toBe('structural.credential.misplaced');
    expect(await ask('git.allowed.test', { [placeholder(broker, 'GH')]: 'x' })).toBe(
      'structural.credential.misplaced',
    );
    const clear = request('git.allowed.test', '/org/x', { Authorization: own }, { secure: false });
    expect(refusal(await broker.authorize(clear))).toBe('structural.credential.cleartext');
    const plainRule = rule('git.allowed.test', { credentials: ['GH'] });
    expect(refusal(await broker.authorize({ ...clear, rule: plainRule }))).toBe(
      'structural.credential.cleartext',
    );
  });

  it('names the credential, the place, the rule and a remedy, and hashes what is foreign', async () => {
    const missing = await broker.authorize(request('llm.allowed.test', '/v1'));
    expect(missing).toMatchObject({
      pin: 'missing',
      verdict: {
        source: 'policy.yaml:7',
        remedy: 'send the value of $LLM from inside the sandbox',
        reason:
          "llm.allowed.test takes only this sandbox's placeholder of LLM, and the request carries no credential",
      },
    });
    const foreign = async (): Promise<CredentialVerdict> =>
      broker.authorize(request('llm.allowed.test', '/v1', { 'x-api-key': SECRETS.ATTACKER }));
    const first = await foreign();
    expect(first).toMatchObject({
      pin: 'foreign',
      foreign: expect.stringMatching(/^[0-9a-f]{16}$/),
      alarm: true,
      verdict: {
        reason: "the header x-api-key carries a credential that is not this sandbox's placeholder of LLM",
      },
    });
    expect(await foreign()).toEqual(first);
    expect(JSON.stringify(first)).not.toContain(SECRETS.ATTACKER);
  });

  it('the same placeholder in two places, and one that was replaced', async () => {
    const own = placeholder(broker, 'LLM');
    const twice = { 'x-api-key': own, Authorization: `Bearer ${own}` };
    expect(await ask('llm.allowed.test', twice)).toBe('structural.pin.multiple');
    broker.renew('LLM');
    const stale = await broker.authorize(request('llm.allowed.test', '/v1', { 'x-api-key': own }));
    expect(stale).toMatchObject({ state: 'refuse', pin: 'misplaced', alarm: true });
    expect(await ask('llm.allowed.test', { 'x-api-key': placeholder(broker, 'LLM') })).toBe('pass');
  });

  it('two lines of the same header, and a pin that the policy does not define', async () => {
    const own = placeholder(broker, 'LLM');
    const raw = `GET /v1 HTTP/1.1\r\nHost: llm.allowed.test\r\nx-api-key: ${own}\r\nx-api-key: ${own}\r\n\r\n`;
    expect(refusal(await broker.authorize(rawRequest(raw)))).toBe('structural.pin.multiple');
    const lost = { rule: rule(HOST, { pin: { credential: 'GONE', require: false } }) };
    expect(refusal(await broker.authorize(request(HOST, '/', {}, lost)))).toBe('structural.pin.missing');
  });

  it('in a body that streams, over chunk borders', () => {
    const watch = broker.watchBody(request('elsewhere.test', '/'));
    const text = Buffer.from(`some text ${Buffer.from(SECRETS.GH).toString('base64')} more`);
    expect(watch?.update(text.subarray(0, 30))).toBeUndefined();
    expect(watch?.update(text.subarray(30))).toMatchObject({ rule: 'structural.credential.leak' });
    const stray = broker.watchBody(request('git.allowed.test', '/org/x'));
    expect(stray?.update(Buffer.from(placeholder(broker, 'GH')))).toMatchObject({
      rule: 'structural.credential.misplaced',
    });
    expect(broker.watchBody(request('elsewhere.test', '/'))?.end()).toBeUndefined();
  });
});
