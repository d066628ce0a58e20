import { responseHeaders, tokensOf } from '../../net/http-head.ts';
import type { RawHeaders } from '../../net/http-head.ts';
import type { NetworkRule } from '../../policy/contract.ts';
import type { OutgoingRequest, Scrubber } from '../contract.ts';
import type { GatewayCore } from '../core.ts';
import type { BodySink, ResponseHead } from './contract.ts';
import { codingOf, DecodeSink, ScrubSink } from './decode.ts';

/** What happens to the answer of one request, and what that asks of the request. */
export interface ResponsePlan {
  requestHeaders(headers: RawHeaders): RawHeaders;
  /** The head for the client and the way of the body to it; or why the answer cannot pass. */
  respond(
    head: ResponseHead,
  ): { readonly head: ResponseHead; readonly through: (sink: BodySink) => BodySink } | string;
}

const AS_IT_IS = (sink: BodySink): BodySink => sink;

/**
 * Ranges and codings would carry a secret past the scrubber a few bytes at a time: those of HTTP, and those that single protocols and
 * servers have beside them (grpc/doc/compression.md, connectrpc.com/docs/protocol, RFC 3229, Azure Blob Storage, Apache httpd).
 */
const UNSCRUBBABLE: ReadonlySet<string> = new Set([
  'accept-encoding',
  'grpc-accept-encoding',
  'connect-accept-encoding',
  'a-im',
  'range',
  'if-range',
  'request-range',
  'x-ms-range',
]);
const RANGES: ReadonlySet<string> = new Set(['range', 'if-range']);
const UNSCRUBBABLE_WITH_PARTS: ReadonlySet<string> = new Set(
  [...UNSCRUBBABLE].filter((name) => !RANGES.has(name)),
);
/** What an answer is packed with inside its body, where no decoder of HTTP sees it. */
const INNER_CODINGS = ['grpc-encoding', 'connect-content-encoding', 'im'] as const;
/** 206 and 226 (RFC 9110 §15.3.7, RFC 3229 §10.4.1): a part, or a difference, that was not asked for. */
const PARTS: ReadonlySet<number> = new Set([206, 226]);
/** They describe bytes that scrubbing and decoding change. */
const CHANGED: ReadonlySet<string> = new Set([
  'content-length',
  'content-encoding',
  'content-md5',
  'digest',
  'accept-ranges',
]);

/** A session that an origin hands out is a credential of its own; a pinned host would refuse it with the next request. */
const SESSION = ['set-cookie', 'set-cookie2'] as const;

/** Headers of answers that the client does not get, lower case; undefined when there are none. */
export function strippedNames({ requests }: NetworkRule): ReadonlySet<string> | undefined {
  if (requests === undefined) return undefined;
  const { stripResponseHeaders: listed, pin } = requests;
  if (pin !== undefined) return new Set([...listed, ...SESSION]);
  return listed.length === 0 ? undefined : new Set(listed);
}

/** Plans the answer of a request that is about to leave. */
export function responsePlan(
  core: Pick<GatewayCore, 'broker' | 'limits'>,
  request: OutgoingRequest,
): ResponsePlan {
  const names = strippedNames(request.rule);
  const scrubber = core.broker?.scrubber(request.host, request.port);
  if (scrubber !== undefined) return scrubbed(scrubber, names, core.limits.inflateRatio);
  return {
    requestHeaders: (headers) => headers,
    respond: ({ status, headers }) => {
      const kept = responseHeaders(headers, status);
      return {
        head: { status, headers: names === undefined ? kept : without(kept, names) },
        through: AS_IT_IS,
      };
    },
  };
}

function scrubbed(scrubber: Scrubber, names: ReadonlySet<string> | undefined, ratio: number): ResponsePlan {
  const { partsPass } = scrubber;
  const unscrubbable = partsPass ? UNSCRUBBABLE_WITH_PARTS : UNSCRUBBABLE;
  return {
    requestHeaders: (headers) => [...without(headers, unscrubbable), 'Accept-Encoding', 'identity'],
    respond: ({ status, headers }) => {
      const coding = codingOf(headers);
      if (PARTS.has(status) && !(partsPass && status === 206))
        return 'the answer is a part of something, which cannot be scrubbed';
      if (coding === undefined || isPackedInside(headers))
        return 'the answer has a coding that cannot be scrubbed';
      const kept = without(responseHeaders(headers, status), CHANGED);
      const clean = scrubber.headers(names === undefined ? kept : without(kept, names));
      const through = (sink: BodySink): BodySink => {
        const scrub = new ScrubSink(sink, scrubber);
        return coding === 'identity' ? scrub : new DecodeSink(scrub, coding, ratio);
      };
      return { head: { status, headers: clean }, through };
    },
  };
}

function isPackedInside(headers: RawHeaders): boolean {
  return INNER_CODINGS.some((name) => tokensOf(headers, name).some((token) => token !== 'identity'));
}

/** The headers but for some. */
export function without(headers: RawHeaders, names: ReadonlySet<string>): string[] {
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!names.has(name.toLowerCase())) out.push(name, headers[i + 1] ?? '');
  }
  return out;
}
