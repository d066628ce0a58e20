import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { BASE32, randomText, signedJwt } from './cases.fixture.ts';
import { Engine } from './engine.ts';
import { LETTERS } from './letters.ts';
import type { Part, TokenForm } from './pattern.ts';
import { DLP_PATTERNS, patternReference } from './patterns.ts';

// Every value is made when the test runs, so that nothing in this repository looks like a token to other scanners.

const engine = new Engine({ known: [], patterns: DLP_PATTERNS, exempt: () => [] });
const kindOf = (text: string): string | undefined => engine.scan(Buffer.from(text, 'latin1'))?.kind;

const partText = (part: Part): string =>
  typeof part === 'string' ? part : randomText(part[2] ?? part[1], LETTERS[part[0]]);
const tokenText = (form: TokenForm, start: string): string => start + form.parts.map(partText).join('');

const DIGITS = '0123456789';
const HEX = '0123456789abcdef';
const BASE62 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const base64 = (bytes: number): string => randomBytes(bytes).toString('base64');
const password = (): string => `${randomText(11)}7x`;
/** Forty letters of three kinds, as AWS makes them. */
const awsSecret = (): string => `aB3${randomText(37)}`;
const pem = (): string =>
  generateKeyPairSync('rsa', { modulusLength: 1024 })
    .privateKey.export({ type: 'pkcs1', format: 'pem' })
    .toString();
const armour = (label: string, body: string): string =>
  `-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`;
const basic = (pair: string): string => Buffer.from(pair).toString('base64');

/** Rows that are more than a prefix: what they find, and what is near and must not be found. */
const OTHERS: Readonly<Record<string, readonly [yes: readonly string[], no: readonly string[]]>> = {
  'aws-access-key': [
    [`AKIA${randomText(16, BASE32)}`, `id=ASIA${randomText(16, BASE32)}\n`],
    [
      'AKIAIOSFODNN7EXAMPLE',
      `XAKIA${randomText(16, BASE32)}`,
      `AKIA${randomText(17, BASE32)}`,
      `AKIA${'A'.repeat(16)}`,
    ],
  ],
  'aws-secret-key': [
    [
      `aws_secret_access_key = ${awsSecret()}\n`,
      `AWS_SECRET_ACCESS_KEY=${awsSecret()}`,
      `{"SecretAccessKey": "${awsSecret()}"}`,
    ],
    [
      `aws_secret_access_key = ${randomText(40, HEX)}`,
      'aws_secret_access_key=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
      awsSecret(),
    ],
  ],
  'aws-session-token': [[`aws_session_token = ${base64(150)}`], ['aws_session_token = $TOKEN']],
  'private-key': [
    [
      pem(),
      JSON.stringify({ key: pem() }),
      armour('OPENSSH PRIVATE KEY', base64(90)),
      armour('PGP PRIVATE KEY BLOCK', `Version: 1\n\n${base64(90)}`),
      armour('ENCRYPTED PRIVATE KEY', base64(90)),
    ],
    [
      armour('CERTIFICATE', base64(300)),
      armour('PUBLIC KEY', base64(90)),
      armour('PGP PUBLIC KEY BLOCK', base64(90)),
      armour('PRIVATE KEY', '...'),
      "if (text.startsWith('-----BEGIN RSA PRIVATE KEY-----')) return parse(text);",
    ],
  ],
  'putty-key': [[`Private-Lines: 8\n${base64(60)}\n`], [`Public-Lines: 8\n${base64(60)}\n`]],
  'jwk-private-key': [
    [`{"kty":"EC","crv":"P-256","d":"${randomBytes(32).toString('base64url')}"}`],
    [`{"d":"${randomBytes(32).toString('base64url')}"}`, '{"kty":"EC","d":"short"}'],
  ],
  jwt: [
    [signedJwt(), `token=${signedJwt()}&x=1`],
    [
      signedJwt().split('.').slice(0, 2).join('.'),
      `${randomText(20)}.${randomText(20)}.${randomText(43)}`,
      `eyJ${randomText(20)}.eyJ${randomText(20)}.${randomText(43)}`,
    ],
  ],
  'gcp-service-account': [[`"private_key_id": "${randomText(40, HEX)}"`], ['"private_key_id": "id"']],
  'azure-storage-key': [[`AccountKey=${base64(64)};EndpointSuffix=x`], ['AccountKey=...']],
  'azure-client-secret': [[`${randomText(3)}8Q~${randomText(34)}`], [`${randomText(9)}8Q~${randomText(34)}`]],
  'azure-devops-token': [
    [`${randomText(76)}AZDO${randomText(4)}`],
    [`${randomText(70)}AZDO${randomText(4)}`],
  ],
  'openai-marked-key': [
    [`sk-${randomText(24)}T3BlbkFJ${randomText(24)}`],
    [`${randomText(20)}T3BlbkFJ${randomText(20)}`],
  ],
  'telegram-token': [
    [`${randomText(10, '123456789')}:AA${randomText(33)}`],
    [`${randomText(4, DIGITS)}:AA${randomText(33)}`],
  ],
  'mailchimp-key': [
    [`${randomText(32, HEX)}-us12`],
    [`${randomText(30, HEX)}-us12`, `${randomText(32, HEX)}-user`],
  ],
  'terraform-token': [[`${randomText(14)}.atlasv1.${randomText(64)}`], [`.atlasv1.${randomText(64)}`]],
  'connection-string': [
    [`postgres://app:${password()}@db.internal:5432/x`, `mongodb+srv://u:${password()}@c0.example.net`],
    [
      'postgres://user:password@db/x',
      'postgres://postgres:postgres@db/x',
      'https://example.com/a:b@c',
      'redis://:${REDIS_PASSWORD}@cache',
      `postgres://app:${password()}@localhost/x`,
      'https://example.com/@scope/name',
    ],
  ],
  'server-login': [
    [`Server=tcp:db.example.net;Database=x;User ID=a;Password=${password()};`],
    ['Server=db;User=a;Password=<password>;', `Password=${password()};`],
  ],
  'basic-authorization': [
    [
      `Authorization: Basic ${basic(`me:${password()}`)}`,
      `"authorization": "Basic ${basic(`me:${password()}`)}"`,
    ],
    [
      `Authorization: Basic ${basic('me:')}`,
      'Authorization: Basic <credentials>',
      `Basic ${basic(`me:${password()}`)}`,
    ],
  ],
  'docker-login': [
    [`{"auths":{"r":{"auth":"${basic(`me:${password()}`)}"}}}`],
    ['{"auth":"none"}', `{"auth":"${basic('nothing here')}"}`],
  ],
  'netrc-login': [
    [
      `machine api.example.com login me password ${password()}\n`,
      `machine h\n  login me\n  password ${password()}`,
    ],
    ['machine learning is fun', 'machine api.example.com login me password <token>'],
  ],
  'npmrc-login': [
    [`//r.example.com/:_authToken=${randomText(36)}`],
    ['//r.example.com/:_authToken=${NPM_TOKEN}'],
  ],
  'kubernetes-key': [[`    client-key-data: ${base64(200)}`], ['client-key-data: REDACTED']],
};

describe('the table of patterns', () => {
  test('ids are unique and every pattern has a literal of at least two bytes', () => {
    expect(new Set(DLP_PATTERNS.map(({ id }) => id)).size).toBe(DLP_PATTERNS.length);
    expect(DLP_PATTERNS.flatMap(({ literals }) => literals).filter((literal) => literal.length < 2)).toEqual(
      [],
    );
    expect(DLP_PATTERNS.length).toBeGreaterThanOrEqual(45);
  });

  test('every pattern that is more than a prefix has samples', () => {
    const without = DLP_PATTERNS.filter(({ id, form }) => form === undefined && OTHERS[id] === undefined);
    expect(without.map(({ id }) => id)).toEqual([]);
  });

  test('the reference has a row for each', () => {
    const page = patternReference();
    expect(DLP_PATTERNS.filter(({ id }) => !page.includes(`| \`${id}\` |`))).toEqual([]);
  });
});

const prefixed = DLP_PATTERNS.flatMap(({ id, form }) =>
  form === undefined ? [] : form.starts.map((start) => [id, start, form] as const),
);

describe('tokens with a prefix', () => {
  test.each(prefixed)('%s %s', (id, start, form) => {
    const value = tokenText(form, start);
    expect(kindOf(value), value.length.toString()).toBe(id);
    expect(kindOf(`{"token": "${value}", "x": 1}`)).toBe(id);
    expect(kindOf(`export TOKEN=${value}\n`)).toBe(id);
  });

  test.each(prefixed)('%s %s: cut short, or written as in a manual, is none', (_id, start, form) => {
    expect(kindOf(`"${tokenText(form, start).slice(0, start.length + 6)}"`)).toBeUndefined();
    const filler = form.parts.map((part) => (typeof part === 'string' ? part : 'x'.repeat(part[1]))).join('');
    expect(kindOf(`"${start}${filler}"`)).toBeUndefined();
    const counted = form.parts.map((part) =>
      typeof part === 'string' ? part : BASE62.repeat(9).slice(26, 26 + part[1]),
    );
    expect(kindOf(`"${start}${counted.join('')}"`)).toBeUndefined();
  });
});

describe('keys and logins', () => {
  const rows = Object.entries(OTHERS);

  test.each(rows.flatMap(([id, [yes]]) => yes.map((text, i) => [id, i, text] as const)))(
    '%s, sample %i',
    (id, _i, text) => {
      expect(kindOf(text)).toBe(id);
    },
  );

  test.each(rows.flatMap(([id, [, no]]) => no.map((text, i) => [id, i, text] as const)))(
    'nothing like %s, sample %i',
    (id, _i, text) => {
      expect(kindOf(text)).not.toBe(id);
    },
  );
});
