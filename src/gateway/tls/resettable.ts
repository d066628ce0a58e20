import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/**
 * Lets a TLS socket be closed with RST like a plain one. Node's own method throws on it, and a gateway that cuts a connection must
 * not fall over; a peer must not take a cut for an orderly end (close_notify) either.
 */
export function makeResettable(secure: TLSSocket, plain: Socket): void {
  secure.resetAndDestroy = (): TLSSocket => {
    // What is still to be encrypted must not hold the reset back.
    if (!plain.destroyed) plain.resetAndDestroy();
    secure.destroy();
    return secure;
  };
}
