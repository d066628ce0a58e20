import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MultiMatch } from './multi-match.ts';
import { secretVariants } from './secret-variants.ts';

const SECRET = 'k8+Zq/ "pw\\é<&~7xVd2LmT0';

function spelling(secret: string, name: string): string {
  const found = secretVariants(Buffer.from(secret)).find((variant) => variant.spelling === name);
  return Buffer.from(found?.bytes ?? []).toString('utf8');
}

describe('secretVariants', () => {
  test.each([
    ['raw', 'tok/en+value', 'tok/en+value'],
    ['base64+0', 'token-value1', 'dG9rZW4tdmFsdWUx'],
    ['hex', 'token-value1', '746f6b656e2d76616c756531'],
    ['hex-upper', 'token-value1', '746F6B656E2D76616C756531'],
    ['percent', 'tok/en+value', 'tok%2Fen%2Bvalue'],
    ['percent-lower', 'tok/en+value', 'tok%2fen%2bvalue'],
    ['form', 'tok en+value', 'tok+en%2Bvalue'],
    ['json', 'tok"en\nvalue', 'tok\\"en\\nvalue'],
    ['json-slash', 'tok/en value', 'tok\\/en value'],
    ['html-decimal', 'ab', '&#97;&#98;'],
    ['html-hex', 'jkl', '&#x6a;&#x6b;&#x6c;'],
    ['base32+0', 'token-value1', 'ORXWWZLOFV3GC3DVMUY'],
  ])('%s of %j', (name, secret, expected) => {
    expect(spelling(secret, name)).toBe(expected);
  });

  test('every spelling is at least 8 bytes long and none is there twice', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (secret) => {
        const forms = secretVariants(secret).map(({ bytes }) => Buffer.from(bytes).toString('latin1'));
        expect(forms.every((form) => form.length >= 8)).toBe(true);
        expect(new Set(forms).size).toBe(forms.length);
      }),
    );
  });

  test('base64 is found whatever stands before and behind', () => {
    const matcher = matcherOf(Buffer.from(SECRET));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9 }), fc.uint8Array({ maxLength: 9 }), (before, behind) => {
        const data = Buffer.concat([before, Buffer.from(SECRET), behind]);
        expect(matcher.find(Buffer.from(data.toString('base64')))).toBeDefined();
        expect(matcher.find(Buffer.from(data.toString('base64url')))).toBeDefined();
      }),
    );
  });

  test.each([
    ['raw', (s: string) => Buffer.from(s)],
    ['encodeURIComponent', (s: string) => Buffer.from(encodeURIComponent(s))],
    ['every byte', (s: string) => Buffer.from(Buffer.from(s).toString('hex').replace(/../g, '%$&'))],
    ['form', (s: string) => Buffer.from(new URLSearchParams({ s }).toString())],
    ['JSON', (s: string) => Buffer.from(JSON.stringify({ s }))],
    ['UTF-16LE', (s: string) => Buffer.from(s, 'utf16le')],
    ['UTF-16BE', (s: string) => Buffer.from(s, 'utf16le').swap16()],
    ['JSON \\u', (s: string) => Buffer.from(Array.from(s, (c) => `\\u${hex4(c.charCodeAt(0))}`).join(''))],
    [
      'entities',
      (s: string) => Buffer.from(Array.from(s, (c) => `&#x${c.charCodeAt(0).toString(16)};`).join('')),
    ],
  ])('finds the secret written as %s by the usual function', (_name, write) => {
    expect(matcherOf(Buffer.from(SECRET)).find(write(SECRET))).toBeDefined();
  });
});

function matcherOf(secret: Uint8Array): MultiMatch {
  return new MultiMatch(secretVariants(secret).map(({ bytes }) => bytes));
}

function hex4(unit: number): string {
  return unit.toString(16).padStart(4, '0');
}
