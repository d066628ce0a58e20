import type { Socket } from 'node:net';
import type { GatewayLimits } from './limits.ts';

/** What a reader of first bytes wants next. */
export type ReadStep<T> = { readonly state: 'more' } | { readonly state: 'done'; readonly value: T };

/** First bytes that were understood, or why there are none. `bytes` is everything received so far. */
export type FirstBytes<T> =
  | { readonly state: 'done'; readonly value: T; readonly bytes: Buffer }
  | { readonly state: 'late' | 'gone' | 'long'; readonly bytes: Buffer };

/** A handshake in more pieces than this is an attack on the parser: each piece is one parse. */
const PIECES_MAX = 256;

/**
 * Collects a connection's first bytes until `step` is satisfied; then the socket is paused and has no listener of ours left.
 * The time limit is for all of it, not between bytes.
 */
export function readFirst<T>(
  socket: Socket,
  step: (bytes: Buffer) => ReadStep<T>,
  limits: { readonly timeoutMs: number; readonly maxBytes: number },
): Promise<FirstBytes<T>> {
  return new Promise((resolve) => {
    let bytes: Buffer = Buffer.alloc(0);
    let pieces = 0;
    const timer = setTimeout(() => finish({ state: 'late', bytes }), limits.timeoutMs);
    const onGone = (): void => finish({ state: 'gone', bytes });
    const onData = (chunk: Buffer): void => {
      bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk]);
      const next = step(bytes);
      if (next.state === 'done') return finish({ state: 'done', value: next.value, bytes });
      if (++pieces >= PIECES_MAX || bytes.length > limits.maxBytes) finish({ state: 'long', bytes });
    };
    const finish = (result: FirstBytes<T>): void => {
      clearTimeout(timer);
      socket.off('data', onData).off('end', onGone).off('close', onGone);
      socket.pause();
      resolve(result);
    };
    socket.on('data', onData).on('end', onGone).on('close', onGone);
    if (socket.destroyed || socket.readableEnded) return onGone();
    socket.resume();
  });
}

/**
 * Says a last word and closes. The client gets a moment to read it: closing with unread bytes in the receive buffer makes the
 * kernel send RST, which would throw the word away (RFC 1122 §4.2.2.13).
 */
export function sayAndClose(
  socket: Socket,
  lastWord: Uint8Array | string,
  limits: Pick<GatewayLimits, 'lingerMs' | 'lingerBytes'>,
): void {
  if (socket.destroyed) return;
  let drained = 0;
  const timer = setTimeout(() => socket.destroy(), limits.lingerMs);
  socket.on('data', (chunk: Buffer) => {
    drained += chunk.length;
    if (drained > limits.lingerBytes) socket.destroy();
  });
  socket.once('end', () => socket.destroySoon());
  socket.once('close', () => clearTimeout(timer));
  socket.end(lastWord);
  if (socket.readableEnded) socket.destroySoon();
  else socket.resume();
}

/** Closes with RST, so that the program sees "connection reset" at once and nothing lingers in TIME_WAIT. */
export function reset(socket: Socket): void {
  if (!socket.destroyed) socket.resetAndDestroy();
}

/** TLS alerts that say why (RFC 8446 §6.2): fatal, in a record of their own. */
export const TLS_ALERT = { accessDenied: 49, internalError: 80, unrecognizedName: 112 } as const;

export function tlsAlert(code: (typeof TLS_ALERT)[keyof typeof TLS_ALERT]): Uint8Array {
  return Uint8Array.of(21, 3, 3, 0, 2, 2, code);
}
