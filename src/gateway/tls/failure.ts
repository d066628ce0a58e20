import type { Verdict } from '../contract.ts';
import type { Allowed } from '../decide.ts';

/** What a certificate that does not verify is called, and what the reader may do. */
export interface UntrustedReason {
  readonly reason: string;
  readonly remedy?: string;
}

const ADD_TRUST = 'if the server is meant, add the file of its CA under network.trust in the policy';
const NO_ISSUER = 'its certificate is signed by an authority that this machine does not know';

/** OpenSSL's verification codes as Node spells them (X509_V_ERR_*), openssl-verification-options(1). */
const UNTRUSTED: Readonly<Record<string, UntrustedReason>> = {
  CERT_HAS_EXPIRED: { reason: 'its certificate has expired' },
  CERT_NOT_YET_VALID: { reason: 'its certificate is not valid yet' },
  DEPTH_ZERO_SELF_SIGNED_CERT: { reason: 'its certificate is self-signed', remedy: ADD_TRUST },
  SELF_SIGNED_CERT_IN_CHAIN: {
    reason: 'its chain ends in a self-signed certificate that is not trusted',
    remedy: ADD_TRUST,
  },
  UNABLE_TO_GET_ISSUER_CERT: { reason: NO_ISSUER, remedy: ADD_TRUST },
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: { reason: NO_ISSUER, remedy: ADD_TRUST },
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: {
    reason: `${NO_ISSUER}, or it does not send its intermediate certificates`,
    remedy: ADD_TRUST,
  },
  CERT_SIGNATURE_FAILURE: { reason: 'the signature of its certificate is wrong' },
  CERT_REVOKED: { reason: 'its certificate is revoked' },
  INVALID_CA: { reason: 'its certificate is signed by one that may not sign' },
  PATH_LENGTH_EXCEEDED: { reason: 'its chain is longer than its authority allows' },
  INVALID_PURPOSE: { reason: 'its certificate is not for servers' },
  CERT_UNTRUSTED: { reason: 'its certificate is not trusted', remedy: ADD_TRUST },
  CERT_REJECTED: { reason: 'its certificate is not trusted for servers' },
  CERT_CHAIN_TOO_LONG: { reason: 'its chain is too long' },
  HOSTNAME_MISMATCH: { reason: 'its certificate is for other names' },
  // X509_V_ERR_EE_KEY_TOO_SMALL and its like have no name in Node.
  UNSPECIFIED: { reason: 'its certificate does not meet the rules (key too short, forbidden extension)' },
};

/** Undefined when the code is not about a certificate. */
export function untrustedReason(code: string | undefined): UntrustedReason | undefined {
  return code === undefined ? undefined : UNTRUSTED[code];
}

/** TLS alerts by which a client refuses the server's certificate (RFC 8446 §6.2), in OpenSSL's spelling. */
const CLIENT_REFUSALS: Readonly<Record<string, string>> = {
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'unknown_ca',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'bad_certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN: 'certificate_unknown',
  ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE: 'unsupported_certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'certificate_expired',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED: 'certificate_revoked',
  ERR_SSL_TLSV1_ALERT_ACCESS_DENIED: 'access_denied',
};

/** The alert's name when the client refused the certificate it was shown. */
export function clientRefusal(code: string | undefined): string | undefined {
  return code === undefined ? undefined : CLIENT_REFUSALS[code];
}

/** A client that does not take the sandbox's certificate gets nothing: passing it on unread would be the hole. */
export function pinnedVerdict(target: Allowed, how: string): Verdict {
  return {
    ...tlsVerdict(
      `the program does not accept the sandbox's certificate for ${target.host} (${how}): it pins the server's own, or looks at other roots`,
    ),
    remedy: `make the program trust the file in $SSL_CERT_FILE, or take what needs reading requests out of ${target.rule.id}`,
  };
}

/** The client offers HTTP/2 alone, and the rule does not have it. */
export function http2Verdict(target: Allowed): Verdict {
  return {
    ...tlsVerdict('the client speaks no HTTP/1.1'),
    remedy: `set \`http2: true\` in ${target.rule.id}`,
  };
}

/** A handshake that the gateway ends. */
export function tlsVerdict(reason: string): Verdict {
  return { action: 'deny', rule: 'structural.tls', reason };
}
