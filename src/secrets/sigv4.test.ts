import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Broker } from './contract.ts';
import { AWS, LLM, placeholder, rawRequest, SECRETS, testBroker } from './fixture.ts';
import { canonicalRequest, sha256 } from './sigv4-canonical.ts';
import type { SignedRequest } from './sigv4-canonical.ts';
import { readSignature, resign, sign } from './sigv4.ts';
import type { AwsRequest, AwsSignature } from './sigv4.ts';

const EMPTY = sha256('');

/** AWS's test suite: aws-sig-v4-test-suite, credentials and date of its README. */
const SUITE = { id: 'AKIDEXAMPLE', key: Buffer.from('wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY') };
/** Amazon S3 API reference, "Signature calculations: examples". */
const S3 = { id: 'AKIAIOSFODNN7EXAMPLE', key: Buffer.from('wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY') };

function suite(target: string, names: string, signature: string, more: Partial<AwsRequest> = {}): AwsRequest {
  const credential = `Credential=${SUITE.id}/20150830/us-east-1/service/aws4_request`;
  const authorization = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${names}, Signature=${signature}`;
  const { headers = [], ...rest } = more;
  const base = ['Host', 'example.amazonaws.com', 'X-Amz-Date', '20150830T123600Z'];
  return { method: 'GET', target, headers: [...base, ...headers, 'Authorization', authorization], ...rest };
}

function s3(line: string, hash: string, signature: string, headers: readonly string[] = []): AwsRequest {
  const [method = '', target = ''] = line.split(' ');
  const lines = ['Host', 'examplebucket.s3.amazonaws.com', ...headers, 'x-amz-content-sha256', hash];
  lines.push('x-amz-date', '20130524T000000Z');
  const names = lines.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
  const credential = `Credential=${S3.id}/20130524/us-east-1/s3/aws4_request`;
  const value = `AWS4-HMAC-SHA256 ${credential},SignedHeaders=${names.sort().join(';')},Signature=${signature}`;
  return { method, target, headers: [...lines, 'Authorization', value] };
}

function read(request: SignedRequest): AwsSignature {
  const result = readSignature(request);
  if (result.state !== 'signed') throw new Error(JSON.stringify(result));
  return result.signed;
}

const PRESIGNED =
  '/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404';
const presigned: AwsRequest = {
  method: 'GET',
  target: PRESIGNED,
  headers: ['Host', 'examplebucket.s3.amazonaws.com'],
};
const FORM = ['Content-Type', 'application/x-www-form-urlencoded'];

const VECTORS: readonly (readonly [string, AwsRequest, Buffer])[] = [
  [
    'get-vanilla',
    suite('/', 'host;x-amz-date', '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'),
    SUITE.key,
  ],
  [
    'get-vanilla-query-order-key-case',
    suite(
      '/?Param2=value2&Param1=value1',
      'host;x-amz-date',
      'b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500',
    ),
    SUITE.key,
  ],
  [
    'post-vanilla',
    suite('/', 'host;x-amz-date', '5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b', {
      method: 'POST',
    }),
    SUITE.key,
  ],
  [
    'get-utf8',
    suite(
      Buffer.from('/ሴ').toString('latin1'),
      'host;x-amz-date',
      '8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85',
    ),
    SUITE.key,
  ],
  [
    'get-space',
    suite(
      '/example space/',
      'host;x-amz-date',
      '652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741',
    ),
    SUITE.key,
  ],
  [
    'get-slash-dot-slash',
    suite('/./', 'host;x-amz-date', '5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31'),
    SUITE.key,
  ],
  [
    'post-x-www-form-urlencoded',
    suite(
      '/',
      'content-type;host;x-amz-date',
      'ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a',
      { method: 'POST', headers: FORM, body: Buffer.from('Param1=value1') },
    ),
    SUITE.key,
  ],
  [
    'S3 GET object',
    s3('GET /test.txt', EMPTY, 'f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41', [
      'Range',
      'bytes=0-9',
    ]),
    S3.key,
  ],
  [
    'S3 PUT object',
    s3(
      'PUT /test%24file.text',
      '44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072',
      '98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd',
      ['Date', 'Fri, 24 May 2013 00:00:00 GMT', 'x-amz-storage-class', 'REDUCED_REDUNDANCY'],
    ),
    S3.key,
  ],
  [
    'S3 GET lifecycle',
    s3('GET /?lifecycle', EMPTY, 'fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543'),
    S3.key,
  ],
  [
    'S3 list',
    s3(
      'GET /?max-keys=2&prefix=J',
      EMPTY,
      '34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7',
    ),
    S3.key,
  ],
  ['S3 presigned', presigned, S3.key],
];

describe('signatures', () => {
  it.each(VECTORS)('agree with AWS: %s', (_, request, key) => {
    const signed = read(request);
    expect(sign(request, signed, key)).toBe(signed.signature);
  });

  it('are made anew with other keys, and verify with them', () => {
    for (const [, request] of VECTORS) {
      const keys = {
        accessKeyId: 'AKIAREAL',
        secretAccessKey: Buffer.from('real/secret+key'),
        sessionToken: 'tok/en==',
      };
      const again = resign(request, read(request), keys);
      if (again === undefined) throw new Error('not signed');
      const signed = read(again);
      expect(signed).toMatchObject({ accessKeyId: 'AKIAREAL', sessionToken: 'tok/en==' });
      expect(sign({ ...request, ...again }, signed, keys.secretAccessKey)).toBe(signed.signature);
      const back = resign({ ...request, ...again }, signed, {
        accessKeyId: 'AKIAREAL',
        secretAccessKey: keys.secretAccessKey,
      });
      expect(read(back ?? again).sessionToken).toBeUndefined();
    }
  });

  it.each([
    ['chunk signatures', s3('PUT /x', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', '0'.repeat(64))],
    ['a hash that is none', s3('PUT /x', 'abc', '0'.repeat(64))],
    ['a host that is not covered', suite('/', 'x-amz-date', '0'.repeat(64))],
    ['an unsorted list', suite('/', 'x-amz-date;host', '0'.repeat(64))],
    ['two of them', { ...presigned, headers: suite('/', 'host;x-amz-date', '0'.repeat(64)).headers }],
    [
      'another algorithm',
      { ...presigned, headers: ['Authorization', 'AWS4-ECDSA-P256-SHA256 Credential=x'], target: '/' },
    ],
    ['a parameter twice', { ...presigned, target: `${PRESIGNED}&x-amz-date=20130524T000001Z` }],
    [
      'a date outside its scope',
      { ...presigned, target: PRESIGNED.replace('Date=20130524', 'Date=20130525') },
    ],
  ])('refuse %s', (_, request) => {
    expect(readSignature(request).state).toBe('bad');
  });

  it('let trailers without signatures pass', () => {
    expect(readSignature(s3('PUT /x', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', '0'.repeat(64))).state).toBe(
      'signed',
    );
  });

  it('cannot cover what is not there or not one way only', () => {
    const signed = read(suite('/', 'host;x-amz-date;x-missing', '0'.repeat(64)));
    expect(sign(suite('/', 'host;x-amz-date', ''), signed, SUITE.key)).toBeUndefined();
    const coverage = { ...signed.coverage, signedHeaders: ['host'], payloadHash: EMPTY };
    expect(canonicalRequest(suite('/?a=%zz', '', ''), coverage)).toBeUndefined();
  });
});

describe('a signed request through the broker', () => {
  const NOW = Date.parse('2026-01-01T00:10:00Z');
  const DATE = '20260101T000000Z';
  const SCOPE = { date: '20260101', region: 'eu', service: 's3' };
  let broker: Broker;
  let now = NOW;
  let id: string;
  let key: string;

  beforeAll(async () => {
    broker = await testBroker({ clock: () => now });
    id = placeholder(broker, 'AWS', 'accessKeyId');
    key = placeholder(broker, 'AWS', 'secretAccessKey');
  });
  beforeEach(() => {
    now = NOW;
  });
  afterAll(() => broker.dispose());

  const signedBy = (accessKeyId: string, secret: string, more: readonly string[] = []): string => {
    const unsigned: AwsRequest = {
      method: 'PUT',
      target: '/bucket/a%20b',
      headers: [
        ...['Host', 's3.allowed.test', 'x-amz-content-sha256', 'UNSIGNED-PAYLOAD', 'x-amz-date', DATE],
        ...more,
      ],
    };
    const others = more.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase());
    const signedHeaders = [...others, 'host', 'x-amz-content-sha256', 'x-amz-date'].sort();
    const coverage = { scope: SCOPE, signedHeaders, date: DATE, payloadHash: 'UNSIGNED-PAYLOAD' };
    const facts = { accessKeyId, signature: '', coverage, sessionToken: undefined, expires: undefined };
    const again = resign(
      unsigned,
      { form: 'header', ...facts },
      { accessKeyId, secretAccessKey: Buffer.from(secret) },
    );
    if (again === undefined) throw new Error('not signed');
    const lines = again.headers.flatMap((name, i) =>
      i % 2 === 0 ? [`${name}: ${again.headers[i + 1]}`] : [],
    );
    return [`PUT ${again.target} HTTP/1.1`, ...lines, '', 'data'].join('\r\n');
  };

  /** A presigned URL as a client makes it, whatever it says about its time. */
  const presignedBy = (secret: string, expires: string, date = DATE): string => {
    const query = [
      'X-Amz-Algorithm=AWS4-HMAC-SHA256',
      `X-Amz-Credential=${id}%2F${date.slice(0, 8)}%2Feu%2Fs3%2Faws4_request`,
      `X-Amz-Date=${date}`,
      ...(expires === '' ? [] : [expires]),
      'X-Amz-SignedHeaders=host',
    ];
    const unsigned: AwsRequest = {
      method: 'GET',
      target: `/bucket/a?${query.join('&')}`,
      headers: ['Host', 's3.allowed.test'],
    };
    const coverage = {
      scope: { ...SCOPE, date: date.slice(0, 8) },
      signedHeaders: ['host'],
      date,
      payloadHash: 'UNSIGNED-PAYLOAD',
    };
    const facts = {
      form: 'query',
      accessKeyId: id,
      signature: '',
      coverage,
      sessionToken: undefined,
    } as const;
    const signature = sign(unsigned, { ...facts, expires: undefined }, Buffer.from(secret));
    return `GET ${unsigned.target}&X-Amz-Signature=${signature} HTTP/1.1\r\nHost: s3.allowed.test\r\n\r\n`;
  };

  it('is signed again with the real keys', async () => {
    const verdict = await broker.authorize(rawRequest(signedBy(id, key)));
    expect(verdict).toMatchObject({ state: 'pass', pin: 'ok', credential: 'AWS' });
    if (verdict.state !== 'pass') return;
    const upstream = { method: 'PUT', target: verdict.target, headers: verdict.headers };
    const signed = read(upstream);
    expect(signed.accessKeyId).toBe(SECRETS.AWS_ID);
    expect(sign(upstream, signed, Buffer.from(SECRETS.AWS_SECRET))).toBe(signed.signature);
  });

  // botocore signs nearly every header that it sets, `range` among them (botocore/auth.py, SIGNED_HEADERS_BLACKLIST).
  it('signs what really leaves: a range is kept where nothing can be cut by it, a coding is not', async () => {
    const signedRange = signedBy(id, key, ['Range', 'bytes=0-9', 'Accept-Encoding', 'gzip']);
    const check = async (by: Broker, raw: string): Promise<readonly string[]> => {
      const verdict = await by.authorize(rawRequest(raw));
      if (verdict.state !== 'pass') throw new Error(JSON.stringify(verdict));
      const upstream = { method: 'PUT', target: verdict.target, headers: verdict.headers };
      const signed = read(upstream);
      expect(sign(upstream, signed, Buffer.from(SECRETS.AWS_SECRET))).toBe(signed.signature);
      return signed.coverage.signedHeaders;
    };
    const rest = ['host', 'x-amz-content-sha256', 'x-amz-date'];
    expect(await check(broker, signedRange)).toEqual(['accept-encoding', 'host', 'range', ...rest.slice(1)]);
    expect(broker.scrubber('s3.allowed.test', 443)?.partsPass).toBe(true);
    // A credential that leaves as it is could come back in pieces.
    await using mixed = await testBroker({
      clock: () => now,
      credentials: [AWS, { ...LLM, hosts: AWS.hosts }],
    });
    const pair = ['accessKeyId', 'secretAccessKey'].map((field) => placeholder(mixed, 'AWS', field));
    const [mixedId = '', mixedKey = ''] = pair;
    const again = signedBy(mixedId, mixedKey, ['Range', 'bytes=0-9', 'Accept-Encoding', 'gzip']);
    expect(await check(mixed, again)).toEqual(['accept-encoding', ...rest]);
    expect(mixed.scrubber('s3.allowed.test', 443)?.partsPass).toBe(false);
  });

  it.each([
    ['a foreign key pair', 'AKIAATTACKERATTACKER', 'attacker', 'structural.pin.foreign'],
    ['the real key id', SECRETS.AWS_ID, SECRETS.AWS_SECRET, 'structural.credential.leak'],
  ])('is refused with %s', async (_, accessKeyId, secret, ruleId) => {
    const verdict = await broker.authorize(rawRequest(signedBy(accessKeyId, secret)));
    expect(verdict).toMatchObject({ state: 'refuse', alarm: true, verdict: { rule: ruleId } });
  });

  it('that does not fit the placeholder is a wrong signature, not a foreign credential', async () => {
    const verdict = await broker.authorize(rawRequest(signedBy(id, 'attacker')));
    expect(verdict).toMatchObject({
      state: 'refuse',
      status: 403,
      pin: 'misplaced',
      verdict: {
        rule: 'structural.credential.signature',
        reason: 'the AWS signature for AWS is refused: it is not what the placeholder gives for this request',
      },
    });
    expect(verdict).not.toHaveProperty('foreign');
    expect(verdict).not.toHaveProperty('alarm');
  });

  it('is refused with a foreign session token, or a second credential beside it', async () => {
    for (const line of ['x-amz-security-token: foreign-token', 'x-api-key: other', `x-note: ${id}`]) {
      const raw = signedBy(id, key).replace('\r\n\r\n', `\r\n${line}\r\n\r\n`);
      expect(await broker.authorize(rawRequest(raw)), line).toMatchObject({ state: 'refuse' });
    }
  });

  it.each([
    ['60', '60'],
    ['900', '900'],
    ['3600', '900'],
    ['604800', '900'],
  ])('a presigned URL that says %s s leaves with %s s', async (said, left) => {
    const verdict = await broker.authorize(rawRequest(presignedBy(key, `X-Amz-Expires=${said}`)));
    expect(verdict).toMatchObject({ state: 'pass', pin: 'ok', credential: 'AWS' });
    if (verdict.state !== 'pass') return;
    expect(new URL(`https://x${verdict.target}`).searchParams.getAll('X-Amz-Expires')).toEqual([left]);
    const upstream = { method: 'GET', target: verdict.target, headers: verdict.headers };
    const signed = read(upstream);
    expect(sign(upstream, signed, Buffer.from(SECRETS.AWS_SECRET))).toBe(signed.signature);
  });

  it.each([
    ['X-Amz-Expires=604801', 'over 604800 s'],
    ['X-Amz-Expires=9999999', 'not one plain number'],
    ['X-Amz-Expires=0', 'not one plain number'],
    ['X-Amz-Expires=-1', 'not one plain number'],
    ['X-Amz-Expires=1e3', 'not one plain number'],
    ['X-Amz-Expires=', 'not one plain number'],
    ['X-Amz-Expires=60&X-Amz-Expires=60', 'not one plain number'],
    ['x-amz-expires=60', 'not one plain number'],
  ])('a presigned URL with %s is refused', async (expires, why) => {
    const verdict = await broker.authorize(rawRequest(presignedBy(key, expires)));
    expect(verdict).toMatchObject({
      state: 'refuse',
      verdict: { rule: 'structural.credential.signature', reason: expect.stringContaining(why) },
    });
  });

  it('a presigned URL without a time passes as it is', async () => {
    const verdict = await broker.authorize(rawRequest(presignedBy(key, '')));
    expect(verdict).toMatchObject({ state: 'pass' });
    expect(JSON.stringify(verdict)).not.toContain('Expires');
  });

  it.each([
    ['15 minutes ago', 15 * 60_000, true],
    ['in 15 minutes', -15 * 60_000, true],
    ['over 15 minutes ago', 15 * 60_000 + 1_000, false],
    ['in over 15 minutes', -15 * 60_000 - 1_000, false],
    ['next year', -365 * 86_400_000, false],
  ])('dated %s, in either form', async (_, ago, passes) => {
    now = Date.parse('2026-01-01T00:00:00Z') + ago;
    for (const raw of [signedBy(id, key), presignedBy(key, 'X-Amz-Expires=604800')]) {
      const verdict = await broker.authorize(rawRequest(raw));
      expect(verdict.state).toBe(passes ? 'pass' : 'refuse');
      if (verdict.state === 'pass') continue;
      expect(verdict.verdict.rule).toBe('structural.credential.signature');
      expect(verdict.verdict.reason).toContain('its date is not within 15 minutes');
    }
  });

  it('a date that is none is refused', async () => {
    const verdict = await broker.authorize(rawRequest(presignedBy(key, '', '20261399T999999Z')));
    expect(verdict).toMatchObject({ state: 'refuse', verdict: { rule: 'structural.credential.signature' } });
  });
});
