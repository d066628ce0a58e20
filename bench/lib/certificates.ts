import { generateKeyPairSync } from 'node:crypto';
import {
  caCertificate,
  certifiedKey,
  distinguishedName,
  leafCertificate,
} from '../../src/gateway/tls/certificate.ts';
import { certificatePem } from '../../src/gateway/tls/pem.ts';

/** What an origin proves itself with: one key, a certificate for each name, and the root that signed them. PEM. */
export interface OriginWorld {
  readonly ca: string;
  readonly key: string;
  readonly certificates: Readonly<Record<string, string>>;
}

/** Certificates for origins, signed by a root of their own. */
export function newWorld(names: readonly string[]): OriginWorld {
  const root = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const rootKey = certifiedKey(root.publicKey);
  const issuer = { name: distinguishedName('bench'), keyId: rootKey.keyId, privateKey: root.privateKey };
  const now = Date.now();
  const validity = { notBefore: now - 3_600_000, notAfter: now + 3_600_000 };
  const leafKey = certifiedKey(leaf.publicKey);
  return {
    ca: certificatePem(caCertificate(issuer, rootKey, validity)),
    key: leaf.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificates: Object.fromEntries(
      names.map((name) => [name, certificatePem(leafCertificate(issuer, leafKey, name, validity))]),
    ),
  };
}
