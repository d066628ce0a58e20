import type { Http1Request } from '../../net/http1-head.ts';
import { tokensOf } from '../../net/http-head.ts';
import type { Body } from '../../net/http-head.ts';

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
