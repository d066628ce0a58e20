import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { rootCertificates } from 'node:tls';
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DlpPolicy } from '../../policy/contract.ts';
import { BASE32, randomText, zipOf } from './cases.fixture.ts';
import type { ScanRequest } from '../contract.ts';
import { createScanner } from './scanner.ts';
import type { InlineScanner, ScannerOptions } from './scanner.ts';

const SECRET = randomText(40);
const AWS_KEY = `AKIA${randomText(16, BASE32)}`;
const ROOT = path.resolve(import.meta.dirname, '../../..');

const policy: DlpPolicy = {
  action: 'deny',
  patterns: true,
  custom: [],
  canaries: [],
  decodeDepth: 2,
  maxInspectBytes: 10_485_760,
  uninspectable: 'deny',
  names: true,
  everywhere: false,
};

function scannerOf(changes: Partial<DlpPolicy> = {}, more: Partial<ScannerOptions> = {}): InlineScanner {
  return createScanner({
    policy: { ...policy, ...changes },
    secrets: () => [{ name: 'token', bytes: Buffer.from(SECRET) }],
    ...more,
  });
}

const request = (target: string, headers: readonly string[] = []): ScanRequest => ({ target, headers });
const scanner = scannerOf();
const kindOf = (body: string | Uint8Array, headers: readonly string[] = []): string | undefined =>
  scanner.body(typeof body === 'string' ? Buffer.from(body) : body, headers)?.kind;

describe('findings', () => {
  test('say kind and place, and a hash that holds for the value in any spelling', () => {
    const found = [
      scanner.body(Buffer.from(`x ${SECRET}`), []),
      scanner.body(Buffer.from(Buffer.from(SECRET).toString('hex')), []),
      scanner.message(Buffer.from(SECRET)),
      scanner.head(request(`/v1/${SECRET}`)),
      scanner.head(request(`/v1?q=${encodeURIComponent(Buffer.from(SECRET).toString('base64'))}`)),
      scanner.head(request('/v1', ['Accept', '*/*', 'Cookie', `a=${SECRET}`])),
      scanner.name(`${SECRET.toLowerCase()}.wild.test`),
    ];
    expect(found.map((finding) => finding?.kind)).toEqual(Array(7).fill('secret:token'));
    expect(found.map((finding) => finding?.place)).toEqual([
      'body',
      'body',
      'websocket',
      'path',
      'query',
      'header:cookie',
      'host',
    ]);
    expect(new Set(found.map((finding) => finding?.hash)).size).toBe(1);
    expect(found[0]?.hash).toMatch(/^[0-9a-f]{12}$/);
    expect(JSON.stringify(found)).not.toContain(SECRET);
  });

  test('the hash is keyed', () => {
    const other = scannerOf().body(Buffer.from(SECRET), []);
    expect(other?.hash).not.toBe(scanner.body(Buffer.from(SECRET), [])?.hash);
  });

  test('of a pattern under a coding name the header it is in', () => {
    const value = Buffer.from(AWS_KEY).toString('hex');
    expect(scanner.head(request('/', ['Accept', '*/*', 'X-A', value]))).toMatchObject({
      kind: 'aws-access-key',
      place: 'header:x-a',
    });
  });

  test('canaries and own patterns have their own kind', () => {
    const own = scannerOf({
      canaries: ['tripwire'],
      custom: [{ name: 'project', pattern: 'PRJ-[0-9]{4}' }],
    });
    expect(own.body(Buffer.from('a tripwire'), [])?.kind).toBe('canary');
    expect(own.body(Buffer.from('see PRJ-2041'), [])?.kind).toBe('custom:project');
    expect(own.body(Buffer.from(Buffer.from('see PRJ-2041 for all').toString('base64')), [])?.kind).toBe(
      'custom:project',
    );
    expect(own.body(Buffer.from('see PRJ-x'), [])).toBeUndefined();
  });

  test('a pattern that is not RE2 is refused when the scanner is made', () => {
    expect(() => scannerOf({ custom: [{ name: 'x', pattern: '(?=a)' }] })).toThrow(TypeError);
  });
});

describe('secrets and placeholders', () => {
  test('a new version is read', () => {
    let version = 1;
    const later = randomText(32);
    const moving = scannerOf(
      {},
      {
        secrets: () => [{ name: 'token', bytes: Buffer.from(version === 1 ? SECRET : later) }],
        secretsVersion: () => version,
      },
    );
    expect(moving.body(Buffer.from(later), [])).toBeUndefined();
    version = 2;
    expect(moving.body(Buffer.from(later), [])?.kind).toBe('secret:token');
    expect(moving.body(Buffer.from(SECRET), [])).toBeUndefined();
  });

  test('a placeholder that looks like a token is none, another one beside it is', () => {
    const text = `ghp_${randomText(36)}`;
    const exempt = scannerOf({}, { placeholders: () => [{ text }] });
    expect(scanner.body(Buffer.from(text), [])?.kind).toBe('github-token');
    expect(exempt.body(Buffer.from(`"${text}"`), [])).toBeUndefined();
    const basic = `Basic ${Buffer.from(`x:${text}`).toString('base64')}`;
    expect(exempt.head(request('/', ['Authorization', basic]))).toBeUndefined();
    expect(exempt.head(request('/', ['Authorization', `Bearer ${text}`]))).toBeUndefined();
    expect(exempt.body(Buffer.from(`${text} ghp_${randomText(36)}`), [])?.kind).toBe('github-token');
  });

  test('patterns and names can be turned off, secrets not', () => {
    const plain = scannerOf({ patterns: false, names: false });
    expect(plain.body(Buffer.from(AWS_KEY), [])).toBeUndefined();
    expect(plain.name(`${SECRET.toLowerCase()}.wild.test`)).toBeUndefined();
    expect(plain.body(Buffer.from(SECRET), [])?.kind).toBe('secret:token');
  });
});

describe('codings', () => {
  const encoding = (value: string): readonly string[] => ['Content-Encoding', value];

  test.each([
    ['gzip', gzipSync(AWS_KEY)],
    ['x-gzip', gzipSync(AWS_KEY)],
    ['deflate', deflateSync(AWS_KEY)],
    ['deflate', deflateRawSync(AWS_KEY)],
    ['br', brotliCompressSync(AWS_KEY)],
    ['gzip, br', brotliCompressSync(gzipSync(AWS_KEY))],
    ['identity', Buffer.from(AWS_KEY)],
  ])('%s', (coding, body) => {
    expect(kindOf(body, encoding(coding))).toBe('aws-access-key');
  });

  test('two header lines are one list', () => {
    const body = brotliCompressSync(gzipSync(AWS_KEY));
    expect(kindOf(body, [...encoding('gzip'), ...encoding('br')])).toBe('aws-access-key');
  });

  test.each([
    ['a coding nobody knows', 'hello', 'rot13', 'uninspectable:coding'],
    ['zstd', 'hello', 'zstd', 'uninspectable:coding'],
    ['a broken one', 'hello', 'gzip', 'uninspectable:coding'],
    ['one too many', 'hello', 'gzip, gzip, gzip', 'uninspectable:depth'],
    ['a bomb', gzipSync(Buffer.alloc(40_000_000)), 'gzip', 'uninspectable:size'],
  ])('%s', (_what, body, coding, kind) => {
    expect(kindOf(body, encoding(coding))).toBe(kind);
  });

  test.each([
    ['deflate', 'uninspectable:coding'],
    ['gzip, snappy', 'uninspectable:coding'],
    ['identity', undefined],
    ['gzip', undefined],
  ])('single messages packed with %s', (coding, kind) => {
    for (const name of ['grpc-encoding', 'Connect-Content-Encoding']) {
      expect(kindOf('hello', [name, coding])).toBe(kind);
      expect(kindOf(AWS_KEY, [name, coding])).toBe('aws-access-key');
    }
  });

  const quoted = (text: string): string =>
    Array.from(Buffer.from(text), (byte) => `=${byte.toString(16).toUpperCase().padStart(2, '0')}`).join('');
  const partOf = (text: string): string =>
    `--b\r\nContent-Transfer-Encoding: Quoted-Printable\r\n\r\n${text}\r\n--b--\r\n`;

  test.each([
    ['each byte', partOf(quoted(AWS_KEY))],
    ['lower case', partOf(quoted(AWS_KEY).toLowerCase())],
    ['soft line breaks', partOf(AWS_KEY.replaceAll('A', '=\r\nA'))],
    ['padded line breaks', partOf(AWS_KEY.replaceAll('K', '= \t\nK'))],
    ['below base64', Buffer.from(partOf(quoted(AWS_KEY))).toString('base64')],
  ])('quoted-printable: %s', (_what, body) => {
    expect(kindOf(body)).toBe('aws-access-key');
  });

  test('what only looks like quoted-printable is left alone', () => {
    expect(kindOf(partOf('a=zz b= c =3'))).toBeUndefined();
    expect(kindOf(`a=${quoted(AWS_KEY)}`)).toBeUndefined();
  });

  test('a plain secret under a coding that is not there is told as the secret', () => {
    expect(kindOf(AWS_KEY, encoding('gzip'))).toBe('aws-access-key');
  });

  test.each([
    ['gzip three deep', gzipSync(gzipSync(gzipSync('hello'))), 'uninspectable:depth'],
    ['a bomb without a header', gzipSync(Buffer.alloc(40_000_000)), 'uninspectable:size'],
    [
      'very many small entries',
      Buffer.concat(Array(5000).fill(zipOf('a', Buffer.from('hello')))),
      'uninspectable:size',
    ],
    ['xz', Buffer.from('fd377a585a0000', 'hex'), 'uninspectable:coding'],
    ['a zip entry of another method', zipOf('a', Buffer.from('x'), 14), 'uninspectable:coding'],
    ['over the most', Buffer.alloc(10_485_761), 'uninspectable:size'],
    ['zlib', deflateSync(AWS_KEY), 'aws-access-key'],
    ['base64 of zlib', Buffer.from(deflateSync(AWS_KEY).toString('base64')), 'aws-access-key'],
    ['a stored zip entry', zipOf('a', Buffer.from(AWS_KEY), 0), 'aws-access-key'],
    [
      'the second entry',
      Buffer.concat([zipOf('a', Buffer.from('a')), zipOf('b', Buffer.from(AWS_KEY))]),
      'aws-access-key',
    ],
    [
      'a gzip member cut short',
      gzipSync(`${randomBytes(4000).toString('hex')} ${AWS_KEY} ${randomText(9000)}`).subarray(0, 9000),
      'aws-access-key',
    ],
  ])('%s', (_what, body, kind) => {
    expect(kindOf(body)).toBe(kind);
  });

  test('what is found counts more than what could not be seen, where that is allowed', () => {
    const lenient = scannerOf({ uninspectable: 'allow' });
    const large = Buffer.concat([Buffer.from(AWS_KEY), Buffer.alloc(10_485_760, ' ')]);
    expect(lenient.body(large, [])?.kind).toBe('aws-access-key');
    expect(lenient.body(Buffer.alloc(10_485_761, ' '), [])?.kind).toBe('uninspectable:size');
  });

  test('depth 0 decodes nothing', () => {
    const flat = scannerOf({ decodeDepth: 0 });
    expect(flat.body(Buffer.from(Buffer.from(AWS_KEY).toString('hex')), [])).toBeUndefined();
    expect(flat.body(gzipSync('hello'), [])?.kind).toBe('uninspectable:depth');
  });

  test('depth 4 undoes four layers', () => {
    const deep = scannerOf({ decodeDepth: 4 });
    let text = AWS_KEY;
    for (let i = 0; i < 4; i++) text = Buffer.from(text).toString('base64');
    expect(deep.body(Buffer.from(text), [])?.kind).toBe('aws-access-key');
    expect(kindOf(text)).toBeUndefined();
  });
});

describe('no false alarms', () => {
  test.each([
    ['the lock file', () => readFileSync(path.join(ROOT, 'package-lock.json'))],
    ['minified code', () => readFileSync(path.join(ROOT, 'node_modules/re2js/build/index.umd.js'))],
    ['a compiler in one file', () => readFileSync(path.join(ROOT, 'node_modules/zod/v4/core/schemas.js'))],
    ['this test', () => readFileSync(import.meta.filename)],
    ['a certificate store', () => Buffer.from(rootCertificates.join('\n'))],
    [
      'git objects',
      () =>
        execFileSync('git', ['pack-objects', '--stdout', '--all', '-q'], {
          cwd: ROOT,
          input: '',
          maxBuffer: 1 << 28,
        }).subarray(0, 4_000_000),
    ],
    ['random bytes', () => randomBytes(1 << 20)],
    ['random base64', () => Buffer.from(randomBytes(1 << 20).toString('base64'))],
    ['random hex', () => Buffer.from(randomBytes(1 << 20).toString('hex'))],
  ])('%s', (_what, read) => {
    expect(scanner.body(read(), [])).toBeUndefined();
    expect(scanner.message(read())).toBeUndefined();
  });
});

describe('any input', () => {
  const pieces = fc.constantFrom(
    'eyJ',
    '.',
    '://',
    'AKIA',
    '-----BEGIN ',
    'PRIVATE KEY-----',
    '%41',
    '\\u0041',
    '&#65;',
    'a b c d ',
    '41 42 43 ',
    'UEsDBA',
    'H4sI',
    '\u0000',
    '\n',
    'x\u009c',
    'PK\u0003\u0004',
    '\u001f\u008b\u0008\u0000',
    'aws_secret_access_key=',
    'Basic ',
    'machine ',
    '":"',
    'ghp_',
    ':AA',
    '-us',
    'AZDO',
    '8Q~',
    '\u00e2\u0080\u008b',
  );
  const junk = fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes).toString('latin1'));
  const bodies = fc
    .array(fc.oneof(pieces, junk), { maxLength: 60 })
    .map((all) => Buffer.from(all.join(''), 'latin1'));

  test('throws nothing', () => {
    fc.assert(
      fc.property(bodies, fc.constantFrom('gzip', 'br', 'deflate', ''), (body, coding) => {
        scanner.body(body, ['content-encoding', coding]);
        scanner.message(body);
        scanner.head(request(`/${body.toString('latin1')}`, ['x', body.toString('latin1')]));
        scanner.name(body.toString('latin1'));
      }),
      { numRuns: 300 },
    );
  });

  test('a secret is found in whatever stands round it', () => {
    const writings = [
      (text: string) => text,
      (text: string) => Buffer.from(text).toString('base64'),
      (text: string) => Buffer.from(text).toString('hex'),
      (text: string) => text.replace(/./gs, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`),
      (text: string) => text.replace(/./gs, (c) => `%${c.charCodeAt(0).toString(16).padStart(2, '0')}`),
    ];
    fc.assert(
      fc.property(bodies, bodies, fc.constantFrom(...writings), (before, behind, write) => {
        const body = Buffer.concat([before, Buffer.from(` ${write(SECRET)} `), behind]);
        expect(scanner.message(body)).toBeDefined();
      }),
      { numRuns: 300 },
    );
  });
});
