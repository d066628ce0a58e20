import { GrpcMessages } from '../../net/grpc.ts';
import { valuesOf } from '../../net/http-head.ts';
import type { RawHeaders } from '../../net/http-head.ts';
import type { Problem } from '../problem.ts';
import type { ExchangeRequest } from './contract.ts';

/** Status codes of gRPC that a gateway has use for (grpc/doc/statuscodes.md). */
const STATUS = { permissionDenied: 7, resourceExhausted: 8, unimplemented: 12, unavailable: 14 } as const;

/** True when a request is gRPC over HTTP/2 by its content type, whatever subtype or parameter; gRPC-Web is ordinary HTTP. */
export function isGrpcRequest(headers: RawHeaders): boolean {
  const types = valuesOf(headers, 'content-type');
  return types.length === 1 && /^application\/grpc(?:[+;]|$)/i.test(types[0] ?? '');
}

/** What a gRPC request may send: messages up to a size, compressed ones only where a coding was named. */
export function grpcMessages(headers: RawHeaders, messageBytes: number): GrpcMessages {
  const codings = valuesOf(headers, 'grpc-encoding');
  return new GrpcMessages({ messageBytes, compressed: codings.some((coding) => coding !== 'identity') });
}

/** True for an exchange that gRPC rules out: its trailers do not pass through HTTP/1. */
export function needsHttp2(request: ExchangeRequest): boolean {
  return request.http === '2' && isGrpcRequest(request.headers);
}

/**
 * A refusal as a gRPC client reads it: HTTP 200 and trailers only (grpc/doc/PROTOCOL-HTTP2.md). Of any other HTTP status a client shows
 * the number at most.
 */
export function trailersOnly(problem: Problem): string[] {
  const headers = [
    'content-type',
    'application/grpc',
    'grpc-status',
    String(grpcStatus(problem.status)),
    'grpc-message',
    percentEncoded(detailOf(problem)),
  ];
  for (let i = 0; i + 1 < problem.headers.length; i += 2) {
    const name = problem.headers[i]?.toLowerCase() ?? '';
    if (name.startsWith('x-')) headers.push(name, problem.headers[i + 1] ?? '');
  }
  return headers;
}

function grpcStatus(status: number): number {
  if (status === 413 || status === 429) return STATUS.resourceExhausted;
  if (status === 501) return STATUS.unimplemented;
  return status >= 500 ? STATUS.unavailable : STATUS.permissionDenied;
}

function detailOf(problem: Problem): string {
  try {
    const body: unknown = JSON.parse(problem.body);
    if (typeof body === 'object' && body !== null && 'detail' in body) return String(body.detail);
  } catch {
    // A body of another kind: the title says enough.
  }
  return problem.title;
}

/** PROTOCOL-HTTP2.md, "Percent-Encoded": every byte but space to `~` without `%`. */
function percentEncoded(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text.slice(0, 1_024))) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    out += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return out.trim();
}
