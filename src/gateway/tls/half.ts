import type { GatewayLimits } from '../limits.ts';
import type { CertificateAuthority, RootStore, TlsHalf } from './contract.ts';
import { createSecureDialler } from './dial.ts';
import { createRootStore } from './roots.ts';
import { createTerminator } from './terminate.ts';

export interface TlsHalfParts {
  readonly authority: CertificateAuthority | undefined;
  readonly roots: RootStore | undefined;
  /** Files of `network.trust`. */
  readonly trust: readonly string[] | undefined;
  readonly limits: GatewayLimits;
}

/** Creates the TLS half of one gateway. */
export function createTlsHalf(parts: TlsHalfParts): TlsHalf {
  const { authority, limits } = parts;
  const terminator = createTerminator({ authority, limits });
  const dialler = createSecureDialler({
    // The gateway does not read the process's environment: who wants its variables heard hands in a store that knows them.
    roots: parts.roots ?? createRootStore({ env: {} }),
    trust: parts.trust ?? [],
    except: authority?.pem,
    limits,
  });
  return {
    terminate: (target, client, hello) => terminator.terminate(target, client, hello),
    secureDial: (target, socket, alpn) => dialler.secureDial(target, socket, alpn),
    close: () => dialler.close(),
  };
}
