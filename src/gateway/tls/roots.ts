import { createHash, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createSecureContext, rootCertificates } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import type { RootStore } from './contract.ts';
import { certificatePem, certificatesIn } from './pem.ts';

/** Where systems keep their bundle: Debian and Alpine, Fedora and Red Hat, SUSE, older Red Hat, FreeBSD and macOS. */
export const SYSTEM_BUNDLES: readonly string[] = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

/** The largest bundle read: Mozilla's has 220 KB. */
const BUNDLE_MAX = 8 * 1024 * 1024;
/** Distinct sets of roots kept; a process with more than this many trust settings rebuilds some. */
const CONTEXTS_MAX = 8;

export interface RootStoreOptions {
  /** The host's environment: SSL_CERT_FILE stands in for the system's bundle, NODE_EXTRA_CA_CERTS is added, as the user's own programs do. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Where to look for the system's bundle. */
  readonly bundles?: readonly string[];
}

/** Creates a root store. One for a process is best: parsing the roots costs about 30 ms, and equal roots are parsed once. */
export function createRootStore(options: RootStoreOptions): RootStore {
  return new HostRoots(options);
}

class HostRoots implements RootStore {
  readonly #env: RootStoreOptions['env'];
  readonly #bundles: readonly string[];
  readonly #contexts = new Map<string, SecureContext>();

  constructor(options: RootStoreOptions) {
    this.#env = options.env;
    this.#bundles = options.bundles ?? SYSTEM_BUNDLES;
  }

  async hostBundle(): Promise<string> {
    const named = this.#env['SSL_CERT_FILE'];
    const extra = this.#env['NODE_EXTRA_CA_CERTS'];
    const base = isNamed(named) ? await readNamed(named, 'SSL_CERT_FILE') : await this.#systemBundle();
    const more = isNamed(extra) ? await readNamed(extra, 'NODE_EXTRA_CA_CERTS') : '';
    return `${base.trimEnd()}\n${more}`;
  }

  async contextFor(files: readonly string[], except?: string): Promise<SecureContext> {
    const texts = [await this.hostBundle()];
    for (const file of files) texts.push(await readTrusted(file));
    const forbidden = except === undefined ? [] : certificatesIn(except);
    const trusted = texts
      .flatMap(certificatesIn)
      .filter((der) => !forbidden.some((other) => other.equals(der)));
    return this.#context(trusted);
  }

  #context(certificates: readonly Buffer[]): SecureContext {
    const hash = createHash('sha256');
    for (const der of certificates) hash.update(der);
    const key = hash.digest('hex');
    const known = this.#contexts.get(key);
    if (known !== undefined) return known;
    // The explicit list replaces Node's own roots, so that nothing is trusted which this machine's owner took out.
    const context = createSecureContext({
      ca: certificates.map(certificatePem).join(''),
      minVersion: 'TLSv1.2',
    });
    const [oldest] = this.#contexts.keys();
    if (this.#contexts.size >= CONTEXTS_MAX && oldest !== undefined) this.#contexts.delete(oldest);
    this.#contexts.set(key, context);
    return context;
  }

  async #systemBundle(): Promise<string> {
    for (const file of this.#bundles) {
      const text = await readFile(file, 'latin1').catch(() => '');
      if (text.length <= BUNDLE_MAX && certificatesIn(text).length > 0) return text;
    }
    return rootCertificates.join('\n');
  }
}

function isNamed(file: string | undefined): file is string {
  return file !== undefined && file !== '';
}

/** Falling back from a bundle that was named on purpose would trust more than was meant. */
async function readNamed(file: string, by: string): Promise<string> {
  const text = await readFile(file, 'latin1').catch(() => '');
  if (text.length <= BUNDLE_MAX && certificatesIn(text).length > 0) return text;
  throw new GloveboxError('E_IO', {
    what: `${by} of the host names ${file}, and no certificates can be read there`,
    next: `Unset ${by}, or make it name a PEM file of certificates.`,
  });
}

/** A file of the policy: every certificate in it must be one, so that a broken file is told apart from a distrusted server. */
async function readTrusted(file: string): Promise<string> {
  try {
    const text = await readFile(file, 'latin1');
    const certificates = text.length > BUNDLE_MAX ? [] : certificatesIn(text);
    for (const der of certificates) void new X509Certificate(der);
    if (certificates.length > 0) return text;
  } catch (error) {
    throw trustProblem(file, systemCode(error) ?? 'a block in it is not a certificate', error);
  }
  throw trustProblem(file, 'there is no certificate in it');
}

function trustProblem(file: string, why: string, cause?: unknown): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `network.trust names ${file}, which cannot be used`,
    why,
    next: 'Name a PEM file of CA certificates.',
    cause,
  });
}
