import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { collectBearings, foldName, labelOf, percentDecode, percentEncode } from './places.ts';
import { basicReading, isHarmlessPartner, schemeReading, subprotocolReading } from './schemes.ts';
import { readSignature } from './sigv4.ts';

const labels = (target: string, ...headers: string[]): string[] =>
  collectBearings({ target, headers }, []).map(({ label }) => label);

describe('collectBearings', () => {
  it.each([
    'Authorization',
    'Proxy-Authorization',
    'x-api-key',
    'X_API_KEY',
    'api-key',
    'apikey',
    'X-Goog-Api-Key',
    'Private-Token',
    'x-auth-token',
    'x-access-token',
    'X-Amz-Security-Token',
    'X-Vault-Token',
    'ocp-apim-subscription-key',
    'x-api%2dkey',
    'X-Forwarded-Authorization',
    'token',
    'DD-API-KEY',
  ])('sees the header %s', (name) => {
    expect(labels('/', name, 'v')).toHaveLength(1);
  });

  it.each([
    'Accept',
    'User-Agent',
    'Idempotency-Key',
    'Sec-WebSocket-Key',
    'x-request-id',
    'anthropic-version',
    'If-Match',
  ])('leaves the header %s alone', (name) => {
    expect(labels('/', name, 'v')).toEqual([]);
  });

  it.each([
    'key',
    'api_key',
    'apikey',
    'API-KEY',
    'token',
    'access_token',
    'ACCESS_TOKEN',
    'sig',
    'X-Amz-Signature',
    'x_amz_credential',
    'a%70i_key',
    'token[]',
    'AWSAccessKeyId',
  ])('sees the query parameter %s', (name) => {
    expect(labels(`/p?a=1&${name}=v`)).toHaveLength(1);
    expect(labels(`/p?a=1;${name}=v`)).toHaveLength(1);
  });

  it.each(['page_token', 'q', 'monkey', 'tokens', 'next'])('leaves the query parameter %s alone', (name) => {
    expect(labels(`/p?${name}=v`)).toEqual([]);
  });

  it('sees every cookie, in every spelling of the header', () => {
    expect(labels('/', 'Cookie', 'a=1; b=2')).toHaveLength(2);
    expect(labels('/', 'cookie', 'bare')).toHaveLength(1);
  });

  it.each([
    ['graphql-transport-ws', 0],
    ['v4.channel.k8s.io', 0],
    ['realtime, openai-insecure-api-key.sk-1234, openai-beta.realtime-v1', 1],
    ['base64url.bearer.authorization.k8s.io.ZXlK', 1],
    ['bearer, hunter', 1],
    ['550e8400-e29b-41d4-a716-446655440000', 1],
  ])('sees tokens among subprotocols: %s', (value, count) => {
    expect(labels('/', 'Sec-WebSocket-Protocol', value)).toHaveLength(count);
  });

  it('sees the places that a policy lists', () => {
    const listed = [
      { kind: 'header', name: 'x-acme' },
      { kind: 'query', name: 'k' },
    ] as const;
    expect(collectBearings({ target: '/?k=1', headers: ['X-Acme', '2'] }, listed)).toHaveLength(2);
  });

  it('never throws, and its ranges hold what it read', () => {
    const text = fc.string({
      unit: fc.constantFrom(...'ab?&=;%2e,. :\\"Basic Bearer token=key'.split('')),
      maxLength: 60,
    });
    const names = fc.constantFrom(
      'authorization',
      'cookie',
      'Sec-WebSocket-Protocol',
      'x-api-key',
      'X_Token',
    );
    fc.assert(
      fc.property(text, fc.array(fc.tuple(names, text)), (target, pairs) => {
        const headers = pairs.flat();
        readSignature({ method: 'GET', target, headers });
        for (const { readings } of collectBearings({ target, headers }, []))
          for (const { spot, parts, encode } of readings) {
            const held = spot.at === 'target' ? target : (headers[spot.index] ?? '');
            const range = held.slice(spot.start, spot.end);
            // Percent escapes may be spelled otherwise; everything else is exactly what stands there.
            expect(percentDecode(encode(parts))).toBe(percentDecode(range));
          }
      }),
    );
  });

  it('folds and labels names', () => {
    expect(foldName('X_Api%2DKey')).toBe('x-api-key');
    expect(labelOf('header', 'X-Api-Key')).toBe('the header x-api-key');
    expect(labelOf('header', 'ghp_0123456789')).toBe('a header with an unusual name');
  });

  it('escapes so that decoding gives the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary-ascii' }), (text) => percentDecode(percentEncode(text)) === text),
    );
  });
});

describe('schemes', () => {
  it.each(['Bearer x', 'bearer x', 'token x'])('read %s', (value) => {
    expect(schemeReading('authorization', value, 1)?.parts).toEqual(['x']);
  });

  it.each(['Bearer  x', 'Bearer\tx', 'Bearer x y', 'Bearer', 'Bearer ', ' Bearer x', '"x"', 'Digest x'])(
    'do not read %j',
    (value) => {
      expect(schemeReading('authorization', value, 1)).toBeUndefined();
    },
  );

  it('read canonical Basic only', () => {
    const coded = Buffer.from('user:pass:word').toString('base64');
    expect(basicReading('authorization', `Basic ${coded}`, 1)?.parts).toEqual(['user', 'pass:word']);
    for (const value of [
      `Basic  ${coded}`,
      `Basic ${coded}=`,
      `Basic ${coded} x`,
      'Basic dXNlcg==',
      'Basic dXNlcjpwYXN=',
    ]) {
      expect(basicReading('authorization', value, 1), value).toBeUndefined();
    }
  });

  it('read a subprotocol at every dot', () => {
    const spot = { at: 'header', index: 1, start: 0, end: 7 } as const;
    const parts = subprotocolReading('a.b.c.d', spot).map((reading) => reading.parts[0]);
    expect(parts).toContain('c.d');
  });

  it.each<readonly [string, 'user' | 'password', boolean]>([
    ['x-access-token', 'user', true],
    ['jane@example.com', 'user', true],
    ['550e8400-e29b-41d4-a716-446655440000', 'user', true],
    ['ghp_0123456789abcdefghijABCDEFGHIJ012345', 'user', false],
    ['0123456789abcdef0123456789abcdef01234567', 'user', false],
    ['', 'password', true],
    ['x-oauth-basic', 'password', true],
    ['anything', 'password', false],
  ])('%j as %s beside a placeholder: %s', (text, role, harmless) => {
    expect(isHarmlessPartner(text, role)).toBe(harmless);
  });
});
