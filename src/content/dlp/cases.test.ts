import { describe, expect, test } from 'vitest';
import { loadCases } from '../../../test/gateway/cases/load.ts';
import type { Case, Input } from '../../../test/gateway/cases/load.ts';
import type { DlpPolicy } from '../../policy/contract.ts';
import { buildRequest, fixtureStrings, stepsOf } from './cases.fixture.ts';
import type { Strings } from './cases.fixture.ts';
import { createScanner } from './scanner.ts';

/** P-dlp of the case file. */
function policyOf(strings: Strings): DlpPolicy {
  return {
    action: 'deny',
    patterns: true,
    custom: [],
    canaries: [strings.CANARY ?? ''],
    decodeDepth: 2,
    maxInspectBytes: 10_485_760,
    uninspectable: 'deny',
    names: true,
    everywhere: true,
  };
}

const strings = fixtureStrings();
const scanner = createScanner({
  policy: policyOf(strings),
  secrets: () => [{ name: 'known', bytes: Buffer.from(strings.KNOWN_SECRET ?? '') }],
});

function verdict(step: Input): string {
  if (step.op === 'name')
    return scanner.name(step.host === undefined ? '' : hostOf(step.host)) ? 'deny' : 'allow';
  if (step.op !== 'http' || step.raw === undefined) throw new Error(`no way to carry out ${step.op}`);
  const { target, headers, body } = buildRequest(step.raw, strings);
  return (scanner.head({ target, headers }) ?? scanner.body(body, headers)) ? 'deny' : 'allow';
}

function hostOf(text: string): string {
  return buildRequest(`GET ${text} HTTP/1.1\r\n\r\n`, strings).target.toLowerCase();
}

const rows: readonly Case[] = loadCases().cases.filter((row) => row.layer === 'dlp');

describe('rows of the case file, layer dlp', () => {
  test('there are some', () => {
    expect(rows.length).toBeGreaterThan(20);
  });

  // A row that may go either way is held to what it would rather have.
  test.each(rows.map((row) => [row.id, row.why, row] as const))('%s %s', (_id, _why, row) => {
    const verdicts = stepsOf(row).map(verdict);
    expect(verdicts.at(-1)).toBe(row.expect);
  });
});

const post = (body: string, more = ''): string =>
  `POST /v1/x HTTP/1.1\r\nHost: api.allowed.test\r\n${more}Content-Length: \${len}\r\n\r\n${body}`;
const get = (target: string, header = ''): string =>
  `GET ${target} HTTP/1.1\r\nHost: api.allowed.test\r\n${header}\r\n`;

describe('more rows of the same kind', () => {
  const found: readonly (readonly [what: string, raw: string])[] = [
    ['a GitHub token', post('${GH_TOKEN}')],
    ['a private key', post('${PEM_KEY}')],
    ['a JWT', post('${JWT}')],
    ...[
      'b64v',
      'b64url',
      'b64nl',
      'b64pad1',
      'b64pad2',
      'b64b64',
      'base32',
      'hex',
      'HEX',
      'hexsp',
      'urlall',
      'jsonu',
      'html',
      'utf16',
      'zw',
      'spaced',
      'upper',
      'rot13',
      'rev',
      'split',
      'gzip',
      'zstd',
    ].flatMap((name) => [
      [`a known secret as ${name}`, post(`\${${name}:KNOWN_SECRET}`)] as const,
      ...(['upper', 'rot13', 'rev', 'base32'].includes(name)
        ? []
        : [[`an AWS key as ${name}`, post(`{"m":"\${${name}:AWS_KEY}"}`)] as const]),
    ]),
    ['base64 of gzip', post('{"d":"${b64v:${gzip:${KNOWN_SECRET}}}"}')],
    ['gzip in a zip', post('${zip:a.gz:${gzip:${AWS_KEY}}}')],
    ['declared gzip', post('${gzip:${AWS_KEY}}', 'Content-Encoding: gzip\r\n')],
    ['declared gzip of base64', post('${gzip:${b64v:AWS_KEY}}', 'Content-Encoding: gzip\r\n')],
    ['declared gzip that is none', post('hello', 'Content-Encoding: gzip\r\n')],
    ['zstd', post('${zstd:hello}', 'Content-Encoding: zstd\r\n')],
    ['an unknown coding', post('hello', 'Content-Encoding: secret-sauce\r\n')],
    ['a gzip bomb', post('${gzipbomb:30000000}')],
    ['a declared gzip bomb', post('${gzipbomb:30000000}', 'Content-Encoding: gzip\r\n')],
    [
      'chunks',
      post(
        '${chunks:${slice:KNOWN_SECRET:0:20}|${slice:KNOWN_SECRET:20:}}',
        'Transfer-Encoding: chunked\r\n',
      ),
    ],
    [
      'a part of a form',
      post(
        '--b\r\nContent-Disposition: form-data; name="f"; filename="x.gz"\r\n\r\n${gzip:${KNOWN_SECRET}}\r\n--b--\r\n',
        'Content-Type: multipart/form-data; boundary=b\r\n',
      ),
    ],
    ['a form value', post('a=1&b=${urlall:AWS_KEY}', 'Content-Type: application/x-www-form-urlencoded\r\n')],
    ['a path segment', get('/v1/${KNOWN_SECRET}/x')],
    ['a path segment in base64', get('/v1/${b64url:AWS_KEY}/x')],
    ['a slice in a path', get('/v1/${hex32:KNOWN_SECRET}')],
    ['an encoded query', get('/v1?d=${urlall:AWS_KEY}')],
    ['a base64 query', get('/v1?d=${b64url:KNOWN_SECRET}')],
    ['a user agent', get('/', 'User-Agent: x ${KNOWN_SECRET}\r\n')],
    ['a header in hex', get('/', 'X-Data: ${hex:AWS_KEY}\r\n')],
    ['a header name', get('/', 'X-${KNOWN_SECRET}: 1\r\n')],
    ['a Basic pair', get('/', 'Authorization: Basic ${b64:user:KNOWN_SECRET}\r\n')],
  ];

  test.each(found)('%s is found', (_what, raw) => {
    expect(verdict({ op: 'http', raw })).toBe('deny');
  });

  test.each([
    ['a digest', post('{"integrity":"sha512-${SHA512_B64}"}')],
    ['a script', post('${MINJS}')],
    ['a picture in JSON', post('{"image":"data:image/png;base64,${PNG_B64}"}')],
    ['an empty password', get('/', 'Authorization: Basic ${b64:user:}\r\n')],
    ['an empty body with a coding', post('', 'Content-Encoding: gzip\r\n')],
    ['a gzip of plain text', post('${gzip:hello there}', 'Content-Encoding: gzip\r\n')],
  ])('%s is no alarm', (_what, raw) => {
    expect(verdict({ op: 'http', raw })).toBe('allow');
  });

  test.each([
    ['hex', '${hex32:KNOWN_SECRET}.wild.test', 'deny'],
    ['upper-case hex', '${upper:${hex32:KNOWN_SECRET}}.wild.test', 'deny'],
    ['base32', '${base32:KNOWN_SECRET}.wild.test', 'deny'],
    ['base64url', '${b64url:KNOWN_SECRET}.wild.test', 'deny'],
    ['plain', '${KNOWN_SECRET}.wild.test', 'deny'],
    ['two labels', '${slice:KNOWN_SECRET:0:20}.${slice:KNOWN_SECRET:20:}.wild.test', 'deny'],
    ['data under an allowed wildcard', 'mzxw6ytboi2gk3tfonvwk3dmn5zgkz3bonsxg5d.wild.test', 'deny'],
    ['a word', 'internationalization.wild.test', 'allow'],
    ['a UUID', '3f2504e0-4f89-11d3-9a0c-0305e82c3301.wild.test', 'allow'],
    ['an id of a cloud', 'd111111abcdef8.cloudfront.net', 'allow'],
    ['an MD5', '9e107d9d372bb6826bd81d3542a419d6.wild.test', 'allow'],
  ])('a host label: %s', (_what, host, expected) => {
    expect(verdict({ op: 'name', host })).toBe(expected);
  });
});
