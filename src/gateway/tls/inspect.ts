import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { placeOf, recordAllow, recordDeny } from '../core.ts';
import type { Entry, GatewayCore } from '../core.ts';
import type { Allowed } from '../decide.ts';
import { pinnedVerdict } from './failure.ts';

/** A client that leaves within this time of the handshake without a byte most likely disliked the certificate. */
const DISLIKE_MS = 1_000;

/** A connection whose ClientHello was judged and whose requests are to be read. */
export interface Inspection {
  readonly core: GatewayCore;
  readonly client: Socket;
  readonly target: Allowed;
  readonly entry: Entry;
  /** The ClientHello and whatever came with it. */
  readonly hello: Buffer;
}

/** Ends the client's TLS here and gives its requests to the HTTP front that it chose. */
export async function inspect(inspection: Inspection): Promise<void> {
  const { core, client, target, entry, hello } = inspection;
  const tls = await core.tls();
  const result = await tls.terminate(target, client, hello);
  if (result.state === 'refused') return recordDeny(core, placeOf(entry, target), result.verdict);
  if (result.state === 'gone') return recordAllow(core, entry, target);
  watchForDislike(inspection, result.socket);
  const front = await (result.alpn === 'h2' ? core.h2() : core.http());
  front.serve(result.socket, { kind: 'pinned', entry, target, secure: true });
}

/**
 * Node and some others look at the certificate only after the handshake, and then just leave. Without this record nobody would
 * learn why such a program does not work.
 */
function watchForDislike(inspection: Inspection, socket: TLSSocket): void {
  const { core, target, entry } = inspection;
  const since = Date.now();
  socket.once('close', () => {
    if (socket.bytesRead > 0 || Date.now() - since > DISLIKE_MS) return;
    recordDeny(core, placeOf(entry, target), pinnedVerdict(target, 'it left right after the handshake'));
  });
}
