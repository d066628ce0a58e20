import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { isWebSocketOpening, requestHeaders, responseHeaders, valuesOf } from '../net/http-head.ts';
import { meterFor, placeOf, recordDeny } from './core.ts';
import type { Exchange } from './http-forward.ts';
import { openRequest } from './http-forward.ts';
import { UpstreamDenied } from './http-pool.ts';
import { failureOf, problemBytes, problemOf, statusOf } from './problem.ts';
import { tunnel } from './tunnel.ts';
import { sayAndClose } from './wire.ts';

/** RFC 6455 §1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** An upgrade has no response object: the parser has let go of the socket. */
export type Upgrade = Omit<Exchange, 'response' | 'expectsContinue'> & {
  readonly client: Socket;
  readonly head: Buffer;
};

/** True for the one upgrade that may pass; h2c would hide every later request from the checks. */
export function isAllowedUpgrade(request: IncomingMessage): boolean {
  return isWebSocketOpening(request.method ?? '', request.httpVersion, request.rawHeaders);
}

/** Passes a WebSocket handshake and, once the origin has agreed in due form, joins the two connections. */
export function forwardUpgrade(upgrade: Upgrade): void {
  const { client, request, target, core } = upgrade;
  const headers = requestHeaders(request.rawHeaders, upgrade.facts, target.host, target.port);
  const upstream = openRequest(upgrade, [...headers, 'Connection', 'Upgrade', 'Upgrade', 'websocket']);
  let done = false;
  upstream.on('socket', (socket) => upgrade.onAllowed(upgrade.agent.addressOf(socket)));
  upstream.on('upgrade', (answer, socket, head) => {
    done = true;
    if (!acceptsKey(request, answer)) {
      socket.destroy();
      return sayAndClose(
        client,
        problemBytes(failureOf(502, 'the origin did not accept the WebSocket handshake')),
        core.limits,
      );
    }
    client.write(switching(answer));
    if (head.length > 0) socket.unshift(head);
    join(upgrade, socket);
  });
  upstream.on('response', (answer) => {
    done = true;
    declined(upgrade, answer);
  });
  upstream.on('error', (error) => {
    if (!done) refuse(upgrade, error);
    else client.destroy();
  });
  client.once('close', () => upstream.destroy());
  upstream.end();
}

function refuse(upgrade: Upgrade, error: Error): void {
  const { core, client, target } = upgrade;
  if (!(error instanceof UpstreamDenied)) {
    return sayAndClose(
      client,
      problemBytes(failureOf(502, `${target.host} did not answer properly`)),
      core.limits,
    );
  }
  recordDeny(core, placeOf(upgrade.entry, target), error.verdict);
  sayAndClose(client, problemBytes(problemOf(statusOf(error.verdict), error.verdict)), core.limits);
}

function join(upgrade: Upgrade, socket: Socket): void {
  const { core, client, target } = upgrade;
  socket.allowHalfOpen = true;
  tunnel(client, socket, {
    first: upgrade.head,
    meter: meterFor(core, target),
    halfClosedMs: core.limits.halfClosedMs,
    // The pool's own account of this connection covers the frames.
    onEnd: () => undefined,
    onCut: (verdict) => recordDeny(core, placeOf(upgrade.entry, target), verdict),
  });
}

/** The origin said no: its answer goes back, then the connection ends, for the parser is gone from it. */
function declined(upgrade: Upgrade, answer: IncomingMessage): void {
  const { client, core } = upgrade;
  const status = answer.statusCode ?? 502;
  const lines = headerLines(responseHeaders(answer.rawHeaders, status).filter(notLength));
  client.write(`HTTP/1.1 ${status} Declined\r\n${lines}Connection: close\r\n\r\n`, 'latin1');
  answer.on('data', (chunk: Buffer) => {
    const verdict = core.budgets.take(upgrade.target.rule, 'downloadBytes', chunk.length);
    if (verdict !== undefined || client.destroyed) answer.destroy();
    else if (!client.write(chunk)) answer.pause();
  });
  client.on('drain', () => answer.resume());
  answer.on('end', () => sayAndClose(client, '', core.limits));
  answer.on('error', () => client.destroy());
}

/** Lengths are dropped: the body ends with the connection. */
function notLength(_entry: string, index: number, headers: readonly string[]): boolean {
  return headers[index - (index % 2)]?.toLowerCase() !== 'content-length';
}

function acceptsKey(request: IncomingMessage, answer: IncomingMessage): boolean {
  const [key = ''] = valuesOf(request.rawHeaders, 'sec-websocket-key');
  const expected = createHash('sha1')
    .update(key + WEBSOCKET_GUID)
    .digest('base64');
  const [upgrade = ''] = valuesOf(answer.rawHeaders, 'upgrade');
  return (
    valuesOf(answer.rawHeaders, 'sec-websocket-accept').join(',') === expected &&
    upgrade.toLowerCase() === 'websocket'
  );
}

function switching(answer: IncomingMessage): string {
  const lines = headerLines(responseHeaders(answer.rawHeaders, 101));
  return `HTTP/1.1 101 Switching Protocols\r\n${lines}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
}

function headerLines(headers: readonly string[]): string {
  let lines = '';
  for (let i = 0; i + 1 < headers.length; i += 2) lines += `${headers[i]}: ${headers[i + 1]}\r\n`;
  return lines;
}
