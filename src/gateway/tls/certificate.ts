import { createHash, randomBytes, sign } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { parseIp } from '../../net/ip.ts';
import { bitString, integer, octetString, oid, sequence, set, tagged, time, utf8, yes } from './der.ts';

/** Clocks of sandboxes and containers may lag the host's a little. */
export const BACKDATE_MS = 5 * 60_000;

/** X.520 ub-common-name (RFC 5280 appendix A.1). */
const COMMON_NAME_MAX = 64;

const OID = {
  commonName: '2.5.4.3',
  organizationName: '2.5.4.10',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

/** RFC 5280 §4.2.1.3, first bit highest: digitalSignature is 0, keyCertSign 5, cRLSign 6. */
const USAGE_LEAF = bitString(Uint8Array.of(0b1000_0000), 7);
const USAGE_CA = bitString(Uint8Array.of(0b0000_0110), 1);

/** How long a certificate holds, milliseconds since the epoch. */
export interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

/** What leaves are signed with. */
export interface Issuer {
  readonly name: Uint8Array;
  readonly keyId: Uint8Array;
  readonly privateKey: KeyObject;
}

/** A key pair as certificates name it. */
export interface CertifiedKey {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly keyId: Uint8Array;
}

/** The distinguished name of a certificate: printable, its common name cut to what X.520 allows. */
export function distinguishedName(commonName: string): Buffer {
  const safe = commonName.replace(/[^\x20-\x7e]/g, '?').slice(0, COMMON_NAME_MAX);
  return sequence(
    set(sequence(oid(OID.organizationName), utf8('Glovebox'))),
    set(sequence(oid(OID.commonName), utf8(safe))),
  );
}

/** The public half of a P-256 key, with its identifier: 160 bits of SHA-256 over the point (RFC 7093 §2, method 1). */
export function certifiedKey(publicKey: KeyObject): CertifiedKey {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  // SubjectPublicKeyInfo of P-256 ends with the uncompressed point, 65 bytes (RFC 5480 §2.2).
  const point = spki.subarray(-65);
  return { spki, keyId: createHash('sha256').update(point).digest().subarray(0, 20) };
}

/** A self-signed CA certificate that may sign leaves and no further CA. */
export function caCertificate(issuer: Issuer, key: CertifiedKey, validity: Validity): Buffer {
  return certificate(issuer, issuer.name, { key, validity }, [
    extension(OID.basicConstraints, sequence(yes(), integer(Uint8Array.of(0))), true),
    extension(OID.keyUsage, USAGE_CA, true),
    extension(OID.subjectKeyIdentifier, octetString(key.keyId)),
    // RFC 5280 §4.2.1.1 lets a self-signed certificate go without; strict checkers then still find the chain.
    extension(OID.authorityKeyIdentifier, sequence(tagged(0, issuer.keyId, false))),
  ]);
}

/** A server certificate for one canonical name or one IP literal. */
export function leafCertificate(issuer: Issuer, key: CertifiedKey, host: string, validity: Validity): Buffer {
  // A name that is cut would be another name; only the subjectAltName counts (RFC 9525 §2).
  const subject = distinguishedName(host.length > COMMON_NAME_MAX ? 'a long name' : host);
  return certificate(issuer, subject, { key, validity }, [
    extension(OID.basicConstraints, sequence(), true),
    extension(OID.keyUsage, USAGE_LEAF, true),
    extension(OID.extKeyUsage, sequence(oid(OID.serverAuth))),
    extension(OID.subjectKeyIdentifier, octetString(key.keyId)),
    extension(OID.authorityKeyIdentifier, sequence(tagged(0, issuer.keyId, false))),
    extension(OID.subjectAltName, sequence(generalName(host))),
  ]);
}

function certificate(
  issuer: Issuer,
  subject: Uint8Array,
  about: { readonly key: CertifiedKey; readonly validity: Validity },
  extensions: readonly Uint8Array[],
): Buffer {
  const algorithm = sequence(oid(OID.ecdsaWithSha256));
  const tbs = sequence(
    tagged(0, integer(Uint8Array.of(2)), true),
    integer(serialNumber()),
    algorithm,
    issuer.name,
    sequence(time(about.validity.notBefore), time(about.validity.notAfter)),
    subject,
    about.key.spki,
    tagged(3, sequence(...extensions), true),
  );
  return sequence(tbs, algorithm, bitString(sign('sha256', tbs, issuer.privateKey)));
}

/** 128 random bits; never all zero, which RFC 5280 §4.1.2.2 forbids. */
function serialNumber(): Uint8Array {
  const serial = randomBytes(16);
  serial[15] = (serial[15] ?? 0) | 1;
  return serial;
}

function extension(id: string, value: Uint8Array, critical = false): Buffer {
  return sequence(oid(id), ...(critical ? [yes()] : []), octetString(value));
}

/** RFC 5280 §4.2.1.6: dNSName is [2], iPAddress [7] with 4 or 16 octets. */
function generalName(host: string): Buffer {
  const ip = parseIp(host);
  if (ip !== undefined) return tagged(7, Uint8Array.from(ip.bytes), false);
  return tagged(2, Buffer.from(host, 'latin1'), false);
}
