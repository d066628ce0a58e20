import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Broker, SecretNotice } from './contract.ts';
import { secretVariants } from '../net/secret-variants.ts';
import {
  AWS,
  credential,
  GH,
  hostEnv,
  LLM,
  placeholder,
  request,
  rule,
  SECRETS,
  testBroker,
} from './fixture.ts';
import { maskContent } from './masked-files.ts';

const ask = (broker: Broker): ReturnType<Broker['authorize']> =>
  broker.authorize(
    request('git.allowed.test', '/org/x', { Authorization: `Bearer ${placeholder(broker, 'GH')}` }),
  );

describe('a broker', () => {
  it('gives the sandbox placeholders and the scanner the secrets', async () => {
    const broker = await testBroker();
    expect(Object.keys(broker.environment()).sort()).toEqual([
      'AWS_ACCESS_KEY_ID',
      'AWS_SECRET_ACCESS_KEY',
      'GH',
      'LLM',
    ]);
    expect(broker.environment()['GH']).toBe(placeholder(broker, 'GH'));
    const known = [...broker.knownSecrets()].map(
      ({ name, bytes }) => `${name} ${Buffer.from(bytes).toString()}`,
    );
    expect(known).toContain(`LLM ${SECRETS.LLM}`);
    expect(broker.scrubber('elsewhere.test', 443)).toBeUndefined();
    broker.dispose();
  });

  it('never shows a secret or placeholder when it is printed, serialised or spread', async () => {
    const broker = await testBroker();
    await ask(broker);
    broker.scrubber('git.allowed.test', 443)?.update(Buffer.from(SECRETS.GH.slice(0, 20)));
    const shown = [
      JSON.stringify(broker),
      inspect(broker),
      inspect(broker, { depth: null, showHidden: true }),
      inspect(broker.scrubber('git.allowed.test', 443), { depth: null, showHidden: true }),
      inspect(broker.watchBody(request('x.test', '/')), { depth: null, showHidden: true }),
      inspect({ ...broker }, { depth: null }),
      JSON.stringify(broker.status()),
    ].join('\n');
    const values = [...Object.values(SECRETS), ...[...broker.placeholders()].map(({ text }) => text)];
    for (const value of values) {
      expect(shown).not.toContain(value);
      expect(shown).not.toContain(
        Buffer.from(value)
          .toString('hex')
          .slice(0, 24)
          .replaceAll(/(..)(?=.)/g, '$1 '),
      );
    }
    expect(shown).toContain('"GH"');
    broker.dispose();
  });

  it('starts without a source that fails, says so, and comes round when it works', async () => {
    const notices: SecretNotice[] = [];
    const env = hostEnv();
    delete env['GH'];
    const clock = { now: 0 };
    const broker = await testBroker({
      hostEnv: env,
      onNotice: (notice) => notices.push(notice),
      now: () => clock.now,
    });
    expect(notices).toMatchObject([{ kind: 'source-failed', credential: 'GH' }]);
    expect(broker.status()[0]).toEqual({ name: 'GH', state: 'failed', why: 'the variable GH is not set' });
    expect(await ask(broker)).toMatchObject({ state: 'refuse', status: 502 });
    env['GH'] = SECRETS.GH;
    expect(await ask(broker)).toMatchObject({ status: 502 });
    clock.now += 2000;
    expect(await ask(broker)).toMatchObject({ state: 'pass' });
    broker.dispose();
  });

  it('reads again after refreshMs', async () => {
    const env: Record<string, string> = { GH: SECRETS.GH };
    const clock = { now: 0 };
    const credentials = [credential('GH', { refreshMs: 1000 })];
    const broker = await testBroker({ hostEnv: env, credentials, now: () => clock.now });
    env['GH'] = 'ghp_second-value';
    expect(JSON.stringify(await ask(broker))).toContain(SECRETS.GH);
    clock.now += 1000;
    expect(JSON.stringify(await ask(broker))).toContain('ghp_second-value');
    delete env['GH'];
    clock.now += 1000;
    expect(await ask(broker)).toMatchObject({ status: 502 });
    broker.dispose();
  });

  it('revokes until another value comes, and still knows the old one', async () => {
    const env: Record<string, string> = { GH: SECRETS.GH };
    const broker = await testBroker({ hostEnv: env, credentials: [GH] });
    broker.revoke('GH');
    expect(await ask(broker)).toMatchObject({
      status: 403,
      verdict: { rule: 'structural.credential.revoked' },
    });
    const inside = request('x.test', '/', { 'X-Note': SECRETS.GH });
    expect(await broker.authorize(inside)).toMatchObject({
      alarm: true,
      verdict: { rule: 'structural.credential.revoked' },
    });
    await expect(broker.refresh('GH')).rejects.toThrow('still gives the revoked value');
    expect(await ask(broker)).toMatchObject({ status: 403 });
    env['GH'] = 'ghp_second-value';
    await broker.refresh('GH');
    expect(await ask(broker)).toMatchObject({ state: 'pass' });
    expect(await broker.authorize(inside)).toMatchObject({
      verdict: { rule: 'structural.credential.revoked' },
    });
    await expect(broker.refresh('NONE')).rejects.toMatchObject({ code: 'E_CREDENTIAL_SOURCE' });
    broker.dispose();
  });

  it('keeps placeholders over a policy change, and knows those that are gone', async () => {
    const broker = await testBroker();
    const [gh, llm] = [placeholder(broker, 'GH'), placeholder(broker, 'LLM')];
    await broker.update([{ ...GH, paths: ['/**'], sources: { value: { kind: 'env', name: 'LLM' } } }, AWS]);
    expect(placeholder(broker, 'GH')).toBe(gh);
    expect(JSON.stringify(await ask(broker))).toContain(SECRETS.LLM);
    expect(await broker.authorize(request('x.test', '/', { 'X-Note': llm }))).toMatchObject({ alarm: true });
    expect(await broker.authorize(request('x.test', '/', { 'X-Note': SECRETS.GH }))).toMatchObject({
      alarm: true,
    });
    await broker.update([GH, LLM]);
    expect(placeholder(broker, 'LLM')).not.toBe(llm);
    broker.dispose();
  });

  it('goes on scrubbing what was in use, when its credential or its host has gone', async () => {
    const scrubbed = (broker: Broker): string | undefined => {
      const scrubber = broker.scrubber('git.allowed.test', 443);
      const text = Buffer.from(`[${SECRETS.GH}]`);
      return scrubber && Buffer.concat([scrubber.update(text), scrubber.end()]).toString();
    };
    for (const left of [
      [LLM],
      [LLM, { ...GH, hosts: [{ host: 'moved.test', port: 443 }] }],
      [LLM, { ...GH, sources: { value: { kind: 'env', name: 'LLM' } as const } }],
    ]) {
      await using broker = await testBroker();
      expect(scrubbed(broker)).toHaveLength(42);
      await broker.update(left);
      expect(scrubbed(broker)).toHaveLength(42);
      expect(scrubbed(broker)).not.toContain(SECRETS.GH);
      expect(broker.scrubber('elsewhere.test', 443)).toBeUndefined();
    }
    await using lifted = await testBroker();
    await lifted.update([{ ...GH, scrub: false }]);
    expect(scrubbed(lifted)).toBeUndefined();
  });

  it('overwrites what it held, and refuses from then on', async () => {
    const broker = await testBroker();
    const held = [...broker.knownSecrets()].map(({ bytes }) => bytes);
    const env = broker.environment();
    await broker[Symbol.asyncDispose]();
    for (const bytes of held) expect(bytes.every((byte) => byte === 0)).toBe(true);
    const sent = request('git.allowed.test', '/org/x', { Authorization: `Bearer ${env['GH']}` });
    expect(await broker.authorize(sent)).toMatchObject({ state: 'refuse', status: 502 });
  });

  it('gives two sandboxes different placeholders, and each knows the other’s as foreign', async () => {
    const [one, two] = [await testBroker(), await testBroker()];
    const sent = request('llm.allowed.test', '/v1', { 'x-api-key': placeholder(two, 'LLM') });
    expect(await one.authorize(sent)).toMatchObject({ pin: 'foreign' });
    one.dispose();
    two.dispose();
  });
});

describe('masked files', () => {
  let dir: string;
  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'gbx-mask-'));
  });
  afterAll(() => rmSync(dir, { recursive: true }));

  const masked = async (
    text: string,
  ): Promise<Awaited<ReturnType<Broker['files']>>[number] & { own: string }> => {
    const file = path.join(dir, 'config');
    writeFileSync(file, text);
    const broker = await testBroker({
      credentials: [credential('GH', { expose: { env: {}, files: [file] } })],
    });
    const [result] = await broker.files();
    const own = placeholder(broker, 'GH');
    broker.dispose();
    if (result === undefined) throw new Error('no file');
    return { ...result, own };
  };

  it('show placeholders where secrets stood: netrc, npmrc, .env, Docker', async () => {
    const coded = (text: string): string => Buffer.from(text).toString('base64');
    const write = (value: string): string =>
      `machine git.test login x password ${value}\n//r/:_auth=${coded(`user:${value}`)}\nTOKEN="${value}"\n{"auths":{"r":{"auth":"${coded(`me:${value}`)}"}}}\n`;
    const result = await masked(write(SECRETS.GH));
    expect(result).toMatchObject({
      state: 'masked',
      replaced: [{ credential: 'GH', field: 'value', count: 4 }],
    });
    if (result.state === 'masked') expect(result.content.toString()).toBe(write(result.own));
  });

  it.each([
    ['that lacks the secret', 'token = rotated-meanwhile', 'does not hold value of GH any more'],
    ['over 1 MiB', `${SECRETS.GH}${'x'.repeat(1024 * 1024)}`, 'larger than 1 MiB'],
    [
      'with it in a coding that cannot be replaced',
      `a=${SECRETS.GH}\nb=${base32(SECRETS.GH)}`,
      'cannot be masked',
    ],
  ])('are refused %s', async (_, text, why) => {
    const result = await masked(text);
    expect(result).toMatchObject({ state: 'refused', why: expect.stringContaining(why) });
  });

  it('show other spellings as the same spelling of the placeholder', async () => {
    const escaped = (text: string): string =>
      Array.from(text, (letter) => `\\u00${letter.charCodeAt(0).toString(16)}`).join('');
    const result = await masked(`a=${SECRETS.GH}\nb=${escaped(SECRETS.GH)}`);
    if (result.state === 'masked')
      expect(result.content.toString()).toBe(`a=${result.own}\nb=${escaped(result.own)}`);
    expect(result.state).toBe('masked');
  });

  it('are refused when there is nothing to read, or the secret is not loaded', async () => {
    const expose = { env: {}, files: [path.join(dir, 'missing')] };
    const broker = await testBroker({
      credentials: [
        credential('GH', { expose }),
        credential('UNSET', { expose: { env: {}, files: ['/etc/hostname'] } }),
      ],
    });
    expect((await broker.files()).map(({ state }) => state)).toEqual(['refused', 'refused']);
    broker.dispose();
  });

  it('are refused behind a link that the sandbox may have made', async () => {
    writeFileSync(path.join(dir, 'real'), SECRETS.GH);
    mkdirSync(path.join(dir, 'workspace'), { recursive: true });
    symlinkSync(path.join(dir, 'real'), path.join(dir, 'workspace/.env'));
    const expose = { env: {}, files: [path.join(dir, 'workspace/.env')] };
    const broker = await testBroker({
      credentials: [credential('GH', { expose })],
      untrusted: [path.join(dir, 'workspace')],
    });
    expect(await broker.files()).toMatchObject([
      { state: 'refused', why: expect.stringContaining('leads elsewhere') },
    ]);
    broker.dispose();
  });

  it('replace a secret that is part of another one last', () => {
    const part = {
      credential: 'A',
      field: 'value',
      secret: Buffer.from('secret-part'),
      placeholder: 'gbx_A',
    };
    const whole = {
      credential: 'B',
      field: 'value',
      secret: Buffer.from('secret-part-and-more'),
      placeholder: 'gbx_B',
    };
    const { content } = maskContent(Buffer.from('x=secret-part-and-more y=secret-part'), [part, whole]);
    expect(content.toString()).toBe('x=gbx_B y=gbx_A');
  });
});

/** As the scanner spells it, without the last letter that depends on what follows. */
function base32(text: string): string {
  const found = secretVariants(Buffer.from(text)).find(({ spelling }) => spelling === 'base32+0');
  return Buffer.from(found?.bytes ?? []).toString();
}

describe('what changes while a request waits for a secret', () => {
  it('refuses when another of its credentials is revoked meanwhile', async () => {
    const slow = credential('SLOW', {
      sources: { value: { kind: 'command', argv: ['/bin/sh', '-c', 'sleep 0.3; echo slow-secret-value'] } },
      places: [{ kind: 'header', name: 'x-slow' }],
      refreshMs: 1_000,
    });
    let now = 0;
    const broker = await testBroker({ credentials: [GH, slow], now: () => now });
    now = 60_000;
    const headers = {
      Authorization: `Bearer ${placeholder(broker, 'GH')}`,
      'X-Slow': placeholder(broker, 'SLOW'),
    };
    const both = rule('git.allowed.test', { credentials: ['GH', 'SLOW'] });
    const asked = broker.authorize(request('git.allowed.test', '/org/x', headers, { rule: both }));
    broker.revoke('GH');
    expect(await asked).toMatchObject({
      state: 'refuse',
      verdict: { rule: 'structural.credential.revoked' },
    });
    broker.dispose();
  });

  it.each(['its host is taken from it', 'its paths are narrowed', 'its placeholder is renewed'])(
    'judges again when meanwhile %s',
    async (what) => {
      const slow = credential('SLOW', {
        sources: { value: { kind: 'command', argv: ['/bin/sh', '-c', 'sleep 0.3; echo slow-secret-value'] } },
        places: [{ kind: 'header', name: 'x-slow' }],
        refreshMs: 1_000,
      });
      let now = 0;
      const broker = await testBroker({ credentials: [slow], now: () => now });
      now = 60_000;
      const headers = { 'X-Slow': placeholder(broker, 'SLOW') };
      const named = rule('git.allowed.test', { credentials: ['SLOW'] });
      const asked = broker.authorize(request('git.allowed.test', '/org/x', headers, { rule: named }));
      if (what === 'its placeholder is renewed') broker.renew('SLOW');
      else if (what === 'its paths are narrowed') void broker.update([{ ...slow, paths: ['/other/**'] }]);
      else void broker.update([{ ...slow, hosts: [{ host: 'other.test', port: 443 }] }]);
      expect(await asked).toMatchObject({
        state: 'refuse',
        verdict: { rule: 'structural.credential.misplaced' },
      });
      broker.dispose();
    },
  );

  it('scrubs at a host that a new policy adds, before its sources have been read', async () => {
    const slow = credential('SLOW', {
      sources: { value: { kind: 'command', argv: ['/bin/sh', '-c', 'sleep 0.3; echo slow-secret-value'] } },
    });
    const broker = await testBroker({ credentials: [GH] });
    expect(broker.scrubber('new.test', 443)).toBeUndefined();
    const updating = broker.update([{ ...GH, hosts: [...GH.hosts, { host: 'new.test', port: 443 }] }, slow]);
    expect(broker.scrubber('new.test', 443)).toBeDefined();
    await updating;
    broker.dispose();
  });
});
