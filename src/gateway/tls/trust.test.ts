import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { createAuthority } from './authority.ts';
import { certificatesIn } from './pem.ts';
import { javaTrustStore, mergedBundle, trustVariables } from './trust.ts';

const a = createAuthority({ sandbox: 'a' }).pem;
const b = createAuthority({ sandbox: 'b' }).pem;

describe('trust of the sandbox', () => {
  test('the bundle has every root and the CA, also behind a file without a last newline', () => {
    for (const host of [a, a.trimEnd(), `# comment\n${a}`]) {
      expect(certificatesIn(mergedBundle(host, b))).toEqual([...certificatesIn(a), ...certificatesIn(b)]);
    }
    expect(mergedBundle('', b)).toBe(b);
  });

  test('nothing but certificates gets behind the bundle', () => {
    const key = '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n';
    expect(mergedBundle(a, key + b)).not.toContain('PRIVATE');
  });

  test('a Java key store: header, entries, keyed digest', () => {
    const store = javaTrustStore([a + b, a]);
    expect(store.subarray(0, 12).toString('hex')).toBe('feedfeed0000000200000003');
    const words = Buffer.from('\0c\0h\0a\0n\0g\0e\0i\0tMighty Aphrodite', 'latin1');
    const digest = createHash('sha1').update(words).update(store.subarray(0, -20)).digest();
    expect(store.subarray(-20)).toEqual(digest);
    for (const der of certificatesIn(a + b)) expect(store.includes(der)).toBe(true);
    expect(javaTrustStore([a + b, a])).toEqual(store);
    expect(javaTrustStore([]).length).toBe(32);
  });

  test('programs that add to their own roots get the CA alone, the others everything', () => {
    const variables = trustVariables('/bundle', '/ca');
    expect(variables).toMatchObject({
      SSL_CERT_FILE: '/bundle',
      REQUESTS_CA_BUNDLE: '/bundle',
      CURL_CA_BUNDLE: '/bundle',
      GIT_SSL_CAINFO: '/bundle',
      NODE_EXTRA_CA_CERTS: '/ca',
      DENO_CERT: '/ca',
    });
    expect(new Set(Object.values(variables))).toEqual(new Set(['/bundle', '/ca']));
  });
});
