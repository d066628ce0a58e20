import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { caCertificate, certifiedKey, distinguishedName, leafCertificate } from './certificate.ts';
import type { CertifiedKey, Issuer } from './certificate.ts';

const VALIDITY = {
  notBefore: Date.parse('2026-01-01T00:00:00Z'),
  notAfter: Date.parse('2051-01-01T00:00:00Z'),
};

function world(): { issuer: Issuer; key: CertifiedKey; ca: X509Certificate } {
  const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const key = certifiedKey(pair.publicKey);
  const issuer = { name: distinguishedName('CA'), keyId: key.keyId, privateKey: pair.privateKey };
  return { issuer, key, ca: new X509Certificate(caCertificate(issuer, key, VALIDITY)) };
}

describe('leaf certificates', () => {
  test.each([
    ['api.test', 'DNS:api.test', 'api.test'],
    ['host-loopback', 'DNS:host-loopback', 'host-loopback'],
    ['_dmarc.api.test', 'DNS:_dmarc.api.test', '_dmarc.api.test'],
    ['192.0.2.1', 'IP Address:192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', 'IP Address:2001:DB8:0:0:0:0:0:1', '2001:db8::1'],
    [
      `${'a'.repeat(60)}.${'b'.repeat(60)}.test`,
      `DNS:${'a'.repeat(60)}.${'b'.repeat(60)}.test`,
      'a long name',
    ],
  ])('for %s', (host, names, commonName) => {
    const { issuer, key, ca } = world();
    const leaf = new X509Certificate(leafCertificate(issuer, key, host, VALIDITY));
    expect(leaf.subjectAltName).toBe(names);
    expect(leaf.subject).toBe(`O=Glovebox\nCN=${commonName}`);
    expect(leaf.ca).toBe(false);
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(leaf.checkIssued(ca)).toBe(true);
    expect(leaf.verify(ca.publicKey)).toBe(true);
    expect([Date.parse(leaf.validFrom), Date.parse(leaf.validTo)]).toEqual([
      VALIDITY.notBefore,
      VALIDITY.notAfter,
    ]);
  });

  test('serial numbers are positive, of 128 bits, and never the same', () => {
    const { issuer, key } = world();
    const serials = Array.from(
      { length: 200 },
      () => new X509Certificate(leafCertificate(issuer, key, 'a.test', VALIDITY)).serialNumber,
    );
    expect(new Set(serials).size).toBe(200);
    for (const serial of serials) expect(serial).toMatch(/^[0-9A-F]{24,32}$/);
  });
});
