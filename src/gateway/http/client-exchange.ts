import type { Socket } from 'node:net';
import type { Problem } from '../problem.ts';
import type {
  BodySink,
  BodySource,
  ClientExchange,
  ExchangeRequest,
  ResponseHead,
  TakenConnection,
} from './contract.ts';
import { MessageWriter } from './writer.ts';
import type { Framing, WriterOwner } from './writer.ts';

/** What an exchange needs of its connection. */
export interface ExchangeHost {
  readonly socket: Socket;
  /** The request's body has not come in full. */
  readonly bodyIsOpen: boolean;
  readBody(): void;
  answered(): void;
  finishWith(problem: Problem, withBody: boolean): void;
  take(): TakenConnection;
  destroy(): void;
}

/** Status codes that people read; the others get a phrase that says nothing, as RFC 9112 §4 allows. */
const PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  201: 'Created',
  202: 'Accepted',
  204: 'No Content',
  206: 'Partial Content',
  301: 'Moved Permanently',
  302: 'Found',
  303: 'See Other',
  304: 'Not Modified',
  307: 'Temporary Redirect',
  308: 'Permanent Redirect',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
};

/** Takes and drops what nobody wants. */
const DROP: BodySink = {
  write: () => true,
  onDrain: () => undefined,
  end: () => undefined,
  abort: () => undefined,
};

/** One HTTP/1 request and its answer. */
export class H1Exchange implements ClientExchange, BodySource, WriterOwner {
  readonly request: ExchangeRequest;
  readonly expectsContinue: boolean;
  readonly #host: ExchangeHost;
  #keep: boolean;
  #sink: BodySink | undefined;
  #wantsMore = true;
  #writer: MessageWriter | undefined;
  #state: 'waiting' | 'begun' | 'out' = 'waiting';
  #onClose: ((complete: boolean) => void) | undefined;

  constructor(
    host: ExchangeHost,
    request: ExchangeRequest,
    facts: { readonly keep: boolean; readonly expects: boolean },
  ) {
    this.#host = host;
    this.request = request;
    this.#keep = facts.keep;
    this.expectsContinue = facts.expects;
  }

  get source(): BodySource | undefined {
    return this.request.body.kind === 'none' ? undefined : this;
  }

  /** The connection may carry another request. */
  get keep(): boolean {
    return this.#keep;
  }

  get begun(): boolean {
    return this.#state !== 'waiting';
  }

  get isOut(): boolean {
    return this.#state === 'out';
  }

  get hasSink(): boolean {
    return this.#sink !== undefined;
  }

  get wantsMore(): boolean {
    return this.#wantsMore;
  }

  sendContinue(): void {
    if (this.#state === 'waiting' && this.#host.bodyIsOpen)
      this.#host.socket.write('HTTP/1.1 100 Continue\r\n\r\n');
  }

  respond(head: ResponseHead, hasBody: boolean): BodySink {
    this.#state = 'begun';
    const { method, http } = this.request;
    const length = hasBody ? announcedLength(head.headers) : undefined;
    const framing = framingOf(hasBody, length, http);
    if (framing === 'close') this.#keep = false;
    const text = responseText(head, {
      framing,
      keep: this.#keep,
      bodyless: mayLackLength(method, head.status),
    });
    const writer = new MessageWriter(this.#host.socket, this, { head: text, framing, length: length ?? 0 });
    this.#writer = writer;
    // The head must not wait for a body that may come in minutes.
    if (hasBody) writer.flushSoon();
    else writer.end();
    return writer;
  }

  answer(problem: Problem): void {
    if (this.#state !== 'waiting') return this.destroy();
    this.#state = 'out';
    this.#keep = false;
    this.#host.finishWith(problem, this.request.method !== 'HEAD');
    this.#close(true);
  }

  destroy(): void {
    this.#host.destroy();
  }

  onClose(listener: (complete: boolean) => void): void {
    this.#onClose = listener;
  }

  takeOver(): TakenConnection {
    this.#onClose = undefined;
    return this.#host.take();
  }

  pipe(sink: BodySink): void {
    this.#sink = sink;
    sink.onDrain(() => {
      if (this.#wantsMore) return;
      this.#wantsMore = true;
      this.#host.socket.resume();
    });
    if (this.#host.bodyIsOpen) this.#host.readBody();
    else this.delivered();
  }

  cancel(): void {
    this.#sink = DROP;
    this.#wantsMore = true;
    this.#host.readBody();
  }

  /** A part of the body. */
  deliver(chunk: Buffer): boolean {
    this.#wantsMore = this.#sink?.write(chunk) !== false;
    return this.#wantsMore;
  }

  /** The body is through. */
  delivered(): void {
    const sink = this.#sink;
    this.#sink = DROP;
    sink?.end();
  }

  /** The answer's source broke: the client sees a cut, never something that looks complete. */
  broken(): void {
    this.destroy();
  }

  /** The request's body was cut or is malformed. */
  bodyBroken(): void {
    const sink = this.#sink;
    this.#sink = DROP;
    sink?.abort();
  }

  drained(): void {
    this.#writer?.drained();
  }

  written(): void {
    this.#state = 'out';
    this.#close(true);
    this.#host.answered();
  }

  /** The client is gone. */
  lost(): void {
    this.#close(false);
  }

  #close(complete: boolean): void {
    const listener = this.#onClose;
    this.#onClose = undefined;
    listener?.(complete);
  }
}

function framingOf(hasBody: boolean, length: number | undefined, http: string): Framing {
  if (!hasBody) return 'none';
  if (length !== undefined) return 'length';
  // HTTP/1.0 has no chunks: the end of the connection is the end of the body.
  return http === '1.1' ? 'chunked' : 'close';
}

function announcedLength(headers: readonly string[]): number | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (name.length === 14 && name.toLowerCase() === 'content-length') return Number(headers[i + 1]);
  }
  return undefined;
}

/** RFC 9112 §6.3: no body whatever the head says, so a missing length is no end of the connection. */
function mayLackLength(method: string, status: number): boolean {
  return method === 'HEAD' || status < 200 || status === 204 || status === 304;
}

function responseText(
  head: ResponseHead,
  facts: { readonly framing: Framing; readonly keep: boolean; readonly bodyless: boolean },
): string {
  const { headers, status } = head;
  const withoutLength = facts.framing === 'none' && !facts.bodyless;
  let text = `HTTP/1.1 ${status} ${PHRASES[status] ?? 'Status'}\r\n`;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (withoutLength && name.length === 14 && name.toLowerCase() === 'content-length') continue;
    text += `${name}: ${headers[i + 1]}\r\n`;
  }
  if (withoutLength) text += 'Content-Length: 0\r\n';
  if (facts.framing === 'chunked') text += 'Transfer-Encoding: chunked\r\n';
  return facts.keep ? `${text}\r\n` : `${text}Connection: close\r\n\r\n`;
}
