import { X509Certificate } from 'node:crypto';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { createAuthority } from './authority.ts';
import { certificatesIn } from './pem.ts';

const HOUR = 3_600_000;
const START = Date.parse('2026-11-21T12:00:00Z');

describe('the authority of a sandbox', () => {
  test('its certificate names the sandbox and may sign', () => {
    const authority = createAuthority({ sandbox: 'sbx_1\n\u00e9', now: () => START });
    const ca = new X509Certificate(authority.pem);
    expect(ca.ca).toBe(true);
    expect(ca.subject).toBe('O=Glovebox\nCN=Glovebox sandbox sbx_1??');
    expect(ca.checkIssued(ca)).toBe(true);
    expect(ca.verify(ca.publicKey)).toBe(true);
    expect(ca.serialNumber.length).toBeGreaterThan(28);
    expect(Date.parse(ca.validFrom)).toBe(START - 5 * 60_000);
    expect(Date.parse(ca.validTo)).toBe(START + 8 * 24 * HOUR);
    expect(authority.notAfter).toBe(START + 8 * 24 * HOUR);
  });

  test('two sandboxes have nothing in common', () => {
    const [a, b] = ['a', 'b'].map((sandbox) => new X509Certificate(createAuthority({ sandbox }).pem));
    expect(a?.publicKey.equals(b?.publicKey ?? a.publicKey)).toBe(false);
    expect(a?.serialNumber).not.toBe(b?.serialNumber);
  });

  test('contexts are kept, the least recently used goes first', () => {
    const authority = createAuthority({ sandbox: 's', contexts: 2 });
    const a = authority.contextFor('a.test');
    const b = authority.contextFor('b.test');
    expect(authority.contextFor('a.test')).toBe(a);
    authority.contextFor('c.test');
    expect(authority.contextFor('a.test')).toBe(a);
    expect(authority.contextFor('b.test')).not.toBe(b);
  });

  test('a context is renewed before its certificate ends, and certificates end with the CA', () => {
    let now = START;
    const authority = createAuthority({ sandbox: 's', now: () => now, lifetimeMs: 30 * HOUR });
    const first = authority.contextFor('a.test');
    now += 23.5 * HOUR;
    expect(authority.contextFor('a.test')).toBe(first);
    now += HOUR;
    const second = authority.contextFor('a.test');
    expect(second).not.toBe(first);
    now += 5 * HOUR;
    expect(authority.contextFor('a.test')).toBe(second);
  });

  test.each(['*.wild.test', 'API.test', 'a.test.', 'a\u0000.test', '', '127.1', 'a b'])(
    'nothing is signed for %j',
    (name) => {
      expect(() => createAuthority({ sandbox: 's' }).contextFor(name)).toThrow('not canonical');
    },
  );

  test('no private key shows', () => {
    const authority = createAuthority({ sandbox: 's' });
    authority.contextFor('a.test');
    const shown = inspect(authority, { depth: 8, showHidden: true }) + JSON.stringify(authority);
    expect(shown).not.toContain('PRIVATE');
    expect(Object.keys(authority).sort()).toEqual(['notAfter', 'pem']);
    expect(certificatesIn(authority.pem)).toHaveLength(1);
  });
});
