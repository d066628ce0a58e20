import { generateKeyPairSync, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { GloveboxError } from '../../base/errors.ts';
import { parseIp } from '../../net/ip.ts';
import { isCanonicalName } from '../../net/name.ts';
import {
  BACKDATE_MS,
  caCertificate,
  certifiedKey,
  distinguishedName,
  leafCertificate,
} from './certificate.ts';
import type { CertifiedKey, Issuer } from './certificate.ts';
import type { CertificateAuthority } from './contract.ts';
import { certificatePem } from './pem.ts';

const HOUR_MS = 3_600_000;
/** A sandbox lives a week at most unless its policy says otherwise; the day is for clocks. */
const CA_LIFETIME_MS = 8 * 24 * HOUR_MS;
/** Apple's and Mozilla's limits for leaves count in days; a day and an hour outlives any client's cached connection. */
const LEAF_LIFETIME_MS = 25 * HOUR_MS;
/** A context is made anew when its certificate has less than this left. */
const RENEW_MS = HOUR_MS;
/** Contexts kept; a wildcard rule may meet any number of names. About 30 KiB each. */
const CONTEXTS_MAX = 512;
/** RFC 5077 keys as Node wants them: name, HMAC and AES keys of 16 bytes each. */
const TICKET_KEY_BYTES = 48;

export interface AuthorityOptions {
  /** Id of the sandbox: it stands in the CA's name, for people who look at a chain. */
  readonly sandbox: string;
  readonly now?: () => number;
  /** Life of the CA certificate; 8 days by default. */
  readonly lifetimeMs?: number;
  /** Contexts kept at once. */
  readonly contexts?: number;
}

/** Creates the certificate authority of one sandbox: fresh keys, in memory only, gone with the object. */
export function createAuthority(options: AuthorityOptions): CertificateAuthority {
  return new SandboxAuthority(options);
}

interface CachedContext {
  readonly context: SecureContext;
  readonly notAfter: number;
}

class SandboxAuthority implements CertificateAuthority {
  readonly pem: string;
  readonly notAfter: number;
  readonly #now: () => number;
  readonly #issuer: Issuer;
  readonly #leafKey: CertifiedKey;
  /** Node takes server keys as PEM only. */
  readonly #leafPrivatePem: string;
  readonly #capacity: number;
  /** In order of use, the least recent first. */
  readonly #contexts = new Map<string, CachedContext>();

  constructor(options: AuthorityOptions) {
    this.#now = options.now ?? Date.now;
    this.#capacity = options.contexts ?? CONTEXTS_MAX;
    const now = this.#now();
    this.notAfter = now + (options.lifetimeMs ?? CA_LIFETIME_MS);
    const ca = p256();
    const caKey = certifiedKey(ca.publicKey);
    this.#issuer = {
      name: distinguishedName(`Glovebox sandbox ${options.sandbox}`),
      keyId: caKey.keyId,
      privateKey: ca.privateKey,
    };
    const validity = { notBefore: now - BACKDATE_MS, notAfter: this.notAfter };
    this.pem = certificatePem(caCertificate(this.#issuer, caKey, validity));
    // One key for all leaves: making one for each name would cost most of the handshake, and separates nothing here.
    const leaf = p256();
    this.#leafKey = certifiedKey(leaf.publicKey);
    this.#leafPrivatePem = leaf.privateKey.export({ type: 'sec1', format: 'pem' }).toString();
  }

  contextFor(name: string): SecureContext {
    const cached = this.#contexts.get(name);
    this.#contexts.delete(name);
    const entry = cached !== undefined && this.#isFresh(cached) ? cached : this.#mint(name);
    this.#contexts.set(name, entry);
    const [oldest] = this.#contexts.keys();
    if (this.#contexts.size > this.#capacity && oldest !== undefined) this.#contexts.delete(oldest);
    return entry.context;
  }

  /** The last certificates end with the CA: making them again would not make them live longer. */
  #isFresh(entry: CachedContext): boolean {
    return entry.notAfter === this.notAfter || entry.notAfter - this.#now() > RENEW_MS;
  }

  #mint(name: string): CachedContext {
    if (!isCanonicalName(name) && parseIp(name)?.text !== name)
      throw new GloveboxError('E_INTERNAL', { what: 'a certificate for a name that is not canonical' });
    const now = this.#now();
    const notAfter = Math.min(now + LEAF_LIFETIME_MS, this.notAfter);
    const validity = { notBefore: now - BACKDATE_MS, notAfter };
    const leaf = leafCertificate(this.#issuer, this.#leafKey, name, validity);
    const context = createSecureContext({
      key: this.#leafPrivatePem,
      cert: certificatePem(leaf),
      // No client certificates are asked for; an empty list spares the parsing of Node's bundled roots.
      ca: [],
      minVersion: 'TLSv1.2',
      // OpenSSL looks a ticket up in the connection's own context: keys of its own keep sessions within one name of one sandbox.
      ticketKeys: randomBytes(TICKET_KEY_BYTES),
    });
    return { context, notAfter };
  }
}

function p256(): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' });
}
