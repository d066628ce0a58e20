import type { Socket } from 'node:net';
import type { ConnectionSummary, Verdict } from './contract.ts';
import { BulkSocket } from './bulk-socket.ts';
import { reset } from './wire.ts';

/** Says whether bytes may pass; a verdict cuts the tunnel. */
export interface Meter {
  readonly up: (bytes: number) => Verdict | undefined;
  readonly down: (bytes: number) => Verdict | undefined;
}

export interface TunnelOptions {
  /** Bytes of the client that were read before; they count and go first. */
  readonly first: Uint8Array | undefined;
  readonly meter: Meter;
  readonly halfClosedMs: number;
  /** Called once, when both sides are gone. */
  readonly onEnd: (result: TunnelResult) => void;
  /** A budget cut the tunnel. */
  readonly onCut: (verdict: Verdict) => void;
}

export interface TunnelResult {
  readonly upBytes: number;
  readonly downBytes: number;
  readonly end: ConnectionSummary['end'];
}

/**
 * Joins two sockets until both directions have ended. Back-pressure in both directions, half-close kept (a program may shut down
 * its side and still wait for the answer), either error resets the other side.
 */
export function tunnel(client: Socket, upstream: Socket, options: TunnelOptions): void {
  const bytes = { up: 0, down: 0 };
  let end: ConnectionSummary['end'] | undefined;
  let open = 2;
  const abort = (why: ConnectionSummary['end']): void => {
    end ??= why;
    reset(client);
    reset(upstream);
  };
  const cut = (verdict: Verdict): void => {
    if (end !== undefined) return;
    abort('budget');
    options.onCut(verdict);
  };
  const closed = (): void => {
    if (--open > 0) return;
    options.onEnd({ upBytes: bytes.up, downBytes: bytes.down, end: end ?? 'closed' });
  };
  const pass =
    (direction: 'up' | 'down') =>
    (chunk: Uint8Array): boolean => {
      const verdict = options.meter[direction](chunk.length);
      if (verdict !== undefined) {
        cut(verdict);
        return false;
      }
      bytes[direction] += chunk.length;
      return true;
    };
  for (const [from, to] of [
    [client, upstream],
    [upstream, client],
  ] as const) {
    from.setNoDelay(true);
    from.on('error', () => abort('reset'));
    // A socket that goes without "end" was torn down; the other side must not wait for it.
    from.on('close', () => {
      if (!from.readableEnded || !from.writableFinished) abort('reset');
      closed();
    });
    from.on('end', () => endSide(to, options.halfClosedMs, abort));
    from.on('drain', () => to.resume());
  }
  if (client.destroyed || upstream.destroyed) return settle([client, upstream], abort, closed);
  if (options.first !== undefined && options.first.length > 0 && pass('up')(options.first))
    upstream.write(options.first);
  pump(client, upstream, pass('up'));
  pump(upstream, client, pass('down'));
}

function pump(from: Socket, to: Socket, pass: (chunk: Uint8Array) => boolean): void {
  if (from instanceof BulkSocket) {
    // Past the stream's own machinery, into one buffer: it may be used again as soon as the kernel has taken all of it.
    from.takeWith((chunk) => {
      if (!pass(chunk)) return false;
      const more = to.write(chunk);
      if (to.writableLength === 0) return true;
      from.keep();
      return more;
    });
  }
  from.on('data', (chunk: Buffer) => {
    // `write` says false for every chunk over the high-water mark, also when the kernel took it at once: look at what is left.
    if (pass(chunk) && !to.write(chunk) && to.writableLength > 0) from.pause();
  });
  from.resume();
}

/** Ends one direction; what is left of the tunnel may idle only for a while. */
function endSide(to: Socket, halfClosedMs: number, abort: (why: 'reset') => void): void {
  if (to.writable) to.end();
  if (to.readableEnded) return;
  to.setTimeout(halfClosedMs, () => abort('reset'));
}

/** One side was gone before the tunnel began: its "close" has already been. */
function settle(sockets: readonly Socket[], abort: (why: 'reset') => void, closed: () => void): void {
  const gone = sockets.filter((socket) => socket.closed).length;
  abort('reset');
  for (let i = 0; i < gone; i++) closed();
}
