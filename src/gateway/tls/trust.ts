import { createHash } from 'node:crypto';
import { certificatePem, certificatesIn } from './pem.ts';

/** The host's bundle with the sandbox's CA behind it: what the system bundle's path shows inside. */
export function mergedBundle(hostPem: string, caPem: string): string {
  const host = hostPem === '' || hostPem.endsWith('\n') ? hostPem : `${hostPem}\n`;
  return host + certificatesIn(caPem).map(certificatePem).join('');
}

const JKS_MAGIC = 0xfeedfeed;
const JKS_VERSION = 2;
const JKS_TRUSTED_CERTIFICATE = 2;
/** Java's own stores have this password everywhere; it guards nothing, it only seeds the digest. */
const JKS_PASSWORD = 'changeit';
/** A fixed word of the format (sun.security.provider.JavaKeyStore). */
const JKS_WHITENER = 'Mighty Aphrodite';

/**
 * A Java key store (JKS) that trusts the given certificates; a text may hold several. Java reads neither PEM bundles nor
 * environment variables: its trust is `$JAVA_HOME/lib/security/cacerts`, on Debian a link to /etc/ssl/certs/java/cacerts.
 */
export function javaTrustStore(certificates: readonly string[]): Buffer {
  const entries = certificates.flatMap(certificatesIn).map(jksEntry);
  const body = Buffer.concat([u32(JKS_MAGIC), u32(JKS_VERSION), u32(entries.length), ...entries]);
  const digest = createHash('sha1')
    .update(Buffer.from(JKS_PASSWORD, 'utf16le').swap16())
    .update(JKS_WHITENER)
    .update(body)
    .digest();
  return Buffer.concat([body, digest]);
}

/** Which file a variable names: all roots, or the sandbox's CA alone where a program adds it to its own roots. */
interface TrustVariable {
  readonly name: string;
  readonly file: 'bundle' | 'ca';
  readonly why: string;
}

/**
 * Programs that do not look at the system's bundle, or not at it alone. npm and Yarn are left out on purpose: they trust
 * NODE_EXTRA_CA_CERTS, while their own `cafile` settings would parse the whole bundle for every connection. So is Java, whose
 * JAVA_TOOL_OPTIONS prints a line on stderr at every start: its store is a file instead.
 */
const TRUST_VARIABLES: readonly TrustVariable[] = [
  {
    name: 'SSL_CERT_FILE',
    file: 'bundle',
    why: 'OpenSSL, Go, Ruby, Python ssl and httpx, uv, rustls-native-certs',
  },
  {
    name: 'NODE_EXTRA_CA_CERTS',
    file: 'ca',
    why: 'Node and Bun add it to their own roots; reading 140 roots again would cost every start 30 ms',
  },
  { name: 'REQUESTS_CA_BUNDLE', file: 'bundle', why: 'Python requests brings its own roots (certifi)' },
  { name: 'CURL_CA_BUNDLE', file: 'bundle', why: 'curl, and libraries that copied the name' },
  { name: 'GIT_SSL_CAINFO', file: 'bundle', why: 'git built with GnuTLS looks at nothing else' },
  { name: 'PIP_CERT', file: 'bundle', why: 'pip carries its own requests and certifi' },
  { name: 'CARGO_HTTP_CAINFO', file: 'bundle', why: 'cargo links its own curl and OpenSSL' },
  { name: 'AWS_CA_BUNDLE', file: 'bundle', why: 'the AWS command line and SDKs bring their own roots' },
  { name: 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH', file: 'bundle', why: 'gRPC brings its own roots' },
  { name: 'DENO_CERT', file: 'ca', why: 'Deno adds it to its own roots' },
  { name: 'CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE', file: 'bundle', why: 'gcloud brings its own roots' },
  {
    name: 'NIX_SSL_CERT_FILE',
    file: 'bundle',
    why: "OpenSSL and curl from Nix look at this before the system's path",
  },
  { name: 'PERL_LWP_SSL_CA_FILE', file: 'bundle', why: 'Perl LWP may bring its own roots (Mozilla::CA)' },
];

/** The variables that make a sandbox's programs trust its CA; the paths are those inside. */
export function trustVariables(bundlePath: string, caPath: string): Record<string, string> {
  return Object.fromEntries(
    TRUST_VARIABLES.map(({ name, file }) => [name, file === 'bundle' ? bundlePath : caPath]),
  );
}

/** Tag, alias, creation date, certificate type, certificate; dates are left at zero so that equal input gives equal bytes. */
function jksEntry(der: Buffer, index: number): Buffer {
  return Buffer.concat([
    u32(JKS_TRUSTED_CERTIFICATE),
    javaText(`glovebox-${index}`),
    Buffer.alloc(8),
    javaText('X.509'),
    u32(der.length),
    der,
  ]);
}

/** java.io.DataOutput.writeUTF, for ASCII. */
function javaText(text: string): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(text.length);
  return Buffer.concat([length, Buffer.from(text, 'latin1')]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
