import { createHash } from 'node:crypto';
import type { Http1Response } from '../../net/http1-head.ts';
import { responseHeaders, valuesOf } from '../../net/http-head.ts';
import type { OutgoingRequest, Scrubber, Verdict } from '../contract.ts';
import { meterFor } from '../core.ts';
import type { GatewayCore } from '../core.ts';
import type { Allowed } from '../decide.ts';
import { tunnel } from '../tunnel.ts';
import type { TunnelOptions, TunnelResult } from '../tunnel.ts';
import type {
  ClientExchange,
  ExchangeRequest,
  TakenConnection,
  UpstreamConnection,
  UpstreamHandlers,
} from './contract.ts';
import { messageProblem, readsMessages } from './inspect.ts';
import type { Notes } from './record.ts';
import { strippedNames, without } from './response.ts';
import { H1Turn } from './upstream-h1.ts';
import { headerLines } from './writer.ts';
import { inspectWebSocket, WS_MESSAGE_BYTES } from './ws-inspect.ts';

/** RFC 6455 §1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface UpgradeParts {
  readonly core: GatewayCore;
  readonly exchange: ClientExchange;
  readonly target: Allowed;
  readonly outgoing: OutgoingRequest;
  readonly connection: UpstreamConnection;
  readonly request: ExchangeRequest;
  readonly handlers: UpstreamHandlers;
  readonly notes: Notes;
  readonly onSwitched: () => void;
  readonly onCut: (verdict: Verdict) => void;
  readonly onEnd: (result: TunnelResult) => void;
}

/** Passes a WebSocket handshake and, once the origin has agreed in due form, joins the two connections. */
export function runUpgrade(parts: UpgradeParts): void {
  const { connection, exchange, handlers, request } = parts;
  if (!(connection instanceof H1Turn) || exchange.takeOver === undefined) {
    connection.release();
    return handlers.failed('a WebSocket cannot be joined here', false);
  }
  connection.upgrade(inspects(parts) ? withoutExtensions(request) : request, {
    ...handlers,
    switched: (head, upstream) => {
      if (accepts(parts, head)) return join(parts, head, upstream);
      upstream.socket.destroy();
      handlers.failed('the origin did not accept the WebSocket handshake', false);
    },
  });
}

/** Frames are read where the rule says so, and where a secret that was put in could come back in them. */
function inspects(parts: UpgradeParts): boolean {
  return readsMessages(parts.outgoing.rule) || scrubberOf(parts) !== undefined;
}

function scrubberOf({ core, outgoing }: UpgradeParts): Scrubber | undefined {
  return core.broker?.scrubber(outgoing.host, outgoing.port);
}

/** Takes secrets out of one whole message of the origin; undefined when there are none to look for. */
function cleanerOf(parts: UpgradeParts): ((data: Buffer) => Buffer) | undefined {
  if (scrubberOf(parts) === undefined) return undefined;
  return (data) => {
    const scrubber = scrubberOf(parts);
    return scrubber === undefined ? data : Buffer.concat([scrubber.update(data), scrubber.end()]);
  };
}

function join(parts: UpgradeParts, head: Http1Response, upstream: TakenConnection): void {
  const { core, exchange, target } = parts;
  const client = exchange.takeOver?.();
  if (client === undefined) return void upstream.socket.destroy();
  parts.onSwitched();
  client.socket.write(switching(parts, head), 'latin1');
  if (upstream.first.length > 0) upstream.socket.unshift(upstream.first);
  const options: TunnelOptions = {
    first: client.first,
    meter: meterFor(core, target),
    halfClosedMs: core.limits.halfClosedMs,
    onEnd: parts.onEnd,
    onCut: parts.onCut,
  };
  if (!inspects(parts)) return tunnel(client.socket, upstream.socket, options);
  const { lingerMs, lingerBytes } = core.limits;
  const clean = cleanerOf(parts);
  inspectWebSocket(client.socket, upstream.socket, {
    ...options,
    ...(clean === undefined ? {} : { clean }),
    limits: { messageBytes: WS_MESSAGE_BYTES, lingerMs, lingerBytes },
    room: core.held,
    onMessage: (message) => {
      const judged = messageProblem(core, parts.outgoing, message, parts.notes);
      return judged instanceof Promise ? judged.then((problem) => problem?.verdict) : judged?.verdict;
    },
  });
}

/** No compression is offered where frames are read (RFC 7692). */
function withoutExtensions(request: ExchangeRequest): ExchangeRequest {
  const headers: string[] = [];
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const name = request.headers[i] ?? '';
    if (name.toLowerCase() !== 'sec-websocket-extensions') headers.push(name, request.headers[i + 1] ?? '');
  }
  return { ...request, headers };
}

/** RFC 6455 §4.1: the key is answered, and nothing is agreed on that was not offered. */
function accepts(parts: UpgradeParts, answer: Http1Response): boolean {
  const [key = ''] = valuesOf(parts.request.headers, 'sec-websocket-key');
  const expected = createHash('sha1')
    .update(key + WEBSOCKET_GUID)
    .digest('base64');
  const [upgrade = ''] = valuesOf(answer.headers, 'upgrade');
  if (inspects(parts) && valuesOf(answer.headers, 'sec-websocket-extensions').length > 0) return false;
  return (
    valuesOf(answer.headers, 'sec-websocket-accept').join(',') === expected &&
    upgrade.toLowerCase() === 'websocket'
  );
}

/** An origin may select the very subprotocol that a credential stands in. */
function switching(parts: UpgradeParts, answer: Http1Response): string {
  const stripped = strippedNames(parts.outgoing.rule);
  const all = responseHeaders(answer.headers, 101);
  const headers = stripped === undefined ? all : without(all, stripped);
  const lines = headerLines(scrubberOf(parts)?.headers(headers) ?? headers);
  return `HTTP/1.1 101 Switching Protocols\r\n${lines}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n`;
}
