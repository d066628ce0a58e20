import { foldCase } from './http-path-case.ts';

/** `pkg.Service/Method` or `pkg.Service/*` of a rule. */
export interface RpcPattern {
  readonly service: string;
  /** Undefined: every method of the service. */
  readonly method: string | undefined;
}

export type RpcResult =
  | { readonly ok: true; readonly rpc: RpcPattern }
  | { readonly ok: false; readonly why: string };

const RPC = /^([A-Za-z_][A-Za-z0-9_.]*)\/([A-Za-z_][A-Za-z0-9_]*|\*)$/;

/** Flag and length before each message. */
const PREFIX = 5;

/** Reads a rule's `rpc`: protobuf identifiers, no leading slash. */
export function parseRpc(text: string): RpcResult {
  const parts = RPC.exec(text);
  if (parts === null) return { ok: false, why: 'an rpc is written `pkg.Service/Method` or `pkg.Service/*`' };
  const [, service = '', method = ''] = parts;
  return { ok: true, rpc: { service, method: method === '*' ? undefined : method } };
}

/** True for exactly `/pkg.Service/Method`; names are case-sensitive (gRPC over HTTP2, "Path"). */
export function isRpcPath(rpc: RpcPattern, path: string): boolean {
  return pathFits(rpc.service, rpc.method, path);
}

/** The same in any case: for refusals. */
export function looksLikeRpcPath(rpc: RpcPattern, path: string): boolean {
  const method = rpc.method === undefined ? undefined : foldCase(rpc.method);
  return pathFits(foldCase(rpc.service), method, foldCase(path));
}

function pathFits(service: string, method: string | undefined, path: string): boolean {
  const prefix = `/${service}/`;
  if (!path.startsWith(prefix)) return false;
  const rest = path.slice(prefix.length);
  return method === undefined ? /^[A-Za-z_][A-Za-z0-9_]*$/.test(rest) : rest === method;
}

/** The content types of gRPC over HTTP/2; grpc-web frames its trailers otherwise and is not one of them. */
export function isGrpcContentType(value: string): boolean {
  return /^application\/grpc(?:\+proto|\+json)?$/i.test(value);
}

export interface GrpcLimits {
  readonly messageBytes: number;
  /** False: a message with its compressed flag set is refused, as it must be when no `grpc-encoding` was named. */
  readonly compressed: boolean;
}

/**
 * Checks the length-prefixed messages of a gRPC body as its bytes pass: flag 0 or 1, length within the cap, nothing cut short.
 * Holds at most five bytes. The first problem is the last answer.
 */
export class GrpcMessages {
  readonly #limits: GrpcLimits;
  readonly #prefix = new Uint8Array(PREFIX);
  #have = 0;
  /** Bytes of the current message still to come. */
  #left = 0;

  constructor(limits: GrpcLimits) {
    this.#limits = limits;
  }

  /** What is wrong, or undefined. */
  update(chunk: Uint8Array): string | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#left > 0) {
        const step = Math.min(this.#left, chunk.length - at);
        this.#left -= step;
        at += step;
        continue;
      }
      this.#prefix[this.#have++] = chunk[at++] ?? 0;
      const why = this.#have === 1 ? this.#badFlag() : this.#have === PREFIX ? this.#begin() : undefined;
      if (why !== undefined) return why;
    }
    return undefined;
  }

  /** The body is over: it must not end within a message. */
  end(): string | undefined {
    return this.#left > 0 || this.#have > 0 ? 'a gRPC message that is cut short' : undefined;
  }

  #badFlag(): string | undefined {
    const [flag = 0] = this.#prefix;
    if (flag > 1) return `a gRPC message with the flag ${flag}`;
    return flag === 1 && !this.#limits.compressed
      ? 'a compressed gRPC message without a grpc-encoding'
      : undefined;
  }

  #begin(): string | undefined {
    this.#have = 0;
    const [, a = 0, b = 0, c = 0, d = 0] = this.#prefix;
    this.#left = a * 0x1000000 + b * 0x10000 + c * 0x100 + d;
    return this.#left > this.#limits.messageBytes
      ? `a gRPC message of ${this.#left} bytes, over the limit of ${this.#limits.messageBytes}`
      : undefined;
  }
}
