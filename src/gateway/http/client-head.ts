import { readRequestHead } from '../../net/http1-head.ts';
import type { HeadCaps, HeadRead, Http1Request } from '../../net/http1-head.ts';
import { tokensOf } from '../../net/http-head.ts';
import type { Body } from '../../net/http-head.ts';
import type { ExchangeRequest } from './contract.ts';

/** A request's head and what it says of its connection. */
export interface ClientHead {
  readonly request: ExchangeRequest;
  readonly expectation: 'none' | 'continue' | 'unknown';
  /** The client may send another request after this one. */
  readonly keep: boolean;
}

/** Longer heads are read each time: what is remembered stays for the life of a connection. */
const REMEMBERED_MAX = 4096;

/**
 * Reads the heads of one connection. One that comes again byte for byte is the same object as before: clients repeat themselves, and
 * nothing but its bytes takes part in reading a head, so whatever was judged of the head alone holds for it too (`LastJudged`).
 */
export class HeadReader {
  readonly #caps: HeadCaps;
  #last: Extract<HeadRead<ClientHead>, { state: 'done' }> | undefined;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(caps: HeadCaps) {
    this.#caps = caps;
  }

  read(bytes: Buffer): HeadRead<ClientHead> {
    const last = this.#last;
    if (
      last !== undefined &&
      bytes.length >= last.used &&
      bytes.compare(this.#bytes, 0, last.used, 0, last.used) === 0
    )
      return last;
    const read = readRequestHead(bytes, this.#caps);
    if (read.state !== 'done') return read;
    const { used } = read;
    const done = { state: 'done', head: headOf(read.head), used } as const;
    this.#last = used <= REMEMBERED_MAX ? done : undefined;
    if (used <= REMEMBERED_MAX) this.#bytes = Buffer.from(bytes.subarray(0, used));
    return done;
  }
}

function headOf(head: Http1Request): ClientHead {
  const { http, method, target, headers } = head;
  return {
    request: { http, method, target, headers, body: bodyOf(head) },
    expectation: expectationOf(head),
    keep: keepsAlive(head),
  };
}

/**
 * How the body of a request is delimited, for reading it. What is ambiguous here is refused by `judgeHead` before anything of the
 * body is read; until then it counts as chunked, which never ends by mistake.
 */
export function bodyOf(head: Http1Request): Body {
  let length: string | undefined;
  for (let i = 0; i + 1 < head.headers.length; i += 2) {
    const name = head.headers[i] ?? '';
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') return { kind: 'chunked' };
    if (name.length === 14 && name.toLowerCase() === 'content-length') length ??= head.headers[i + 1];
  }
  if (length === undefined) return { kind: 'none' };
  return /^[0-9]{1,15}$/.test(length) ? { kind: 'length', bytes: Number(length) } : { kind: 'chunked' };
}

/** RFC 9110 §10.1.1; HTTP/1.0 clients have no expectations. */
export function expectationOf(head: Http1Request): 'none' | 'continue' | 'unknown' {
  let found: 'none' | 'continue' = 'none';
  for (let i = 0; i + 1 < head.headers.length; i += 2) {
    const name = head.headers[i] ?? '';
    if (name.length !== 6 || name.toLowerCase() !== 'expect') continue;
    if (head.headers[i + 1]?.toLowerCase() !== '100-continue') return 'unknown';
    found = 'continue';
  }
  return head.http === '1.1' ? found : 'none';
}

/** RFC 9112 §9.3. HTTP/1.0 connections carry one request: their keep-alive is an extension with traps (appendix C.2.2). */
export function keepsAlive(head: Http1Request): boolean {
  if (head.http === '1.0') return false;
  for (let i = 0; i + 1 < head.headers.length; i += 2) {
    const name = head.headers[i] ?? '';
    if (name.length === 10 && name.toLowerCase() === 'connection')
      return !tokensOf(head.headers, 'connection').includes('close');
  }
  return true;
}
