import type { CredentialPolicy } from '../policy/contract.ts';

/** True when a destination is one of the credential's own. */
export function isHomeHost(policy: CredentialPolicy, host: string, port: number): boolean {
  return policy.hosts.some((home) => home.host === host && home.port === port);
}
