import { foldCase } from '../../net/http-path-case.ts';
import { isGrpcContentType, isRpcPath, looksLikeRpcPath } from '../../net/grpc.ts';
import type { RpcPattern } from '../../net/grpc.ts';
import { valuesOf } from '../../net/http-head.ts';
import type { RawHeaders } from '../../net/http-head.ts';
import type { PathGlob } from '../../net/http-path-glob.ts';
import { foldName } from '../../net/http-query.ts';
import type { LooseParameter, QueryParameter } from '../../net/http-query.ts';
import type { RequestMatch } from '../../policy/contract.ts';

/** A condition on the value of a named parameter or header. */
export interface NamedTest {
  readonly name: string;
  readonly test: (value: string) => boolean;
}

/** A `RequestMatch`, ready to compare. */
export interface CompiledMatch {
  readonly source: RequestMatch;
  readonly methods: ReadonlySet<string> | undefined;
  readonly path: PathGlob | undefined;
  readonly rpc: RpcPattern | undefined;
  readonly query: readonly NamedTest[];
  readonly headers: readonly NamedTest[];
}

/** A request as matches see it. */
export interface RequestView {
  readonly method: string;
  /** Canonical wherever a rule has a path condition. */
  readonly path: string;
  readonly headers: RawHeaders;
  /** Strictly read; empty where no rule has a query condition. */
  readonly query: readonly QueryParameter[];
  readonly rawQuery: string;
  /** The query in every spelling, read when a rule first asks. */
  readonly loose: () => readonly LooseParameter[];
}

/** The parts of a match, in the order in which a request gets nearer to it. */
export const PARTS = ['path', 'rpc', 'methods', 'query', 'headers'] as const;
export type Part = (typeof PARTS)[number];

/** The first part of an allow match that a request misses; undefined: it matches. */
export function missedPart(match: CompiledMatch, view: RequestView): Part | undefined {
  if (match.path !== undefined && !match.path.matches(view.path)) return 'path';
  if (match.rpc !== undefined && !isRpcCall(match.rpc, view)) return 'rpc';
  if (match.methods !== undefined && !match.methods.has(view.method)) return 'methods';
  if (!match.query.every((one) => once(one, valuesNamed(view.query, one.name)))) return 'query';
  return match.headers.every((one) => once(one, valuesOf(view.headers, one.name))) ? undefined : 'headers';
}

/** True when a refuse match hits: on any occurrence and any spelling, and on HEAD where it names GET. */
export function isHit(match: CompiledMatch, view: RequestView): boolean {
  const method = view.method === 'HEAD' && !match.methods?.has('HEAD') ? 'GET' : view.method;
  if (match.methods !== undefined && !match.methods.has(method)) return false;
  if (match.path !== undefined && !match.path.matches(view.path)) return false;
  if (match.rpc !== undefined && !looksLikeRpcPath(match.rpc, view.path)) return false;
  const loose = match.query.length > 0 ? view.loose() : [];
  if (!match.query.every((one) => loose.some((parameter) => isNamed(one, parameter)))) return false;
  return match.headers.every((one) => anyPart(one, valuesOf(view.headers, one.name)));
}

/** POST with one content type of gRPC to exactly that path. */
function isRpcCall(rpc: RpcPattern, view: RequestView): boolean {
  const types = valuesOf(view.headers, 'content-type');
  const [type = ''] = types;
  return view.method === 'POST' && types.length === 1 && isGrpcContentType(type) && isRpcPath(rpc, view.path);
}

function once(condition: NamedTest, values: readonly string[]): boolean {
  const [value] = values;
  return values.length === 1 && value !== undefined && condition.test(value);
}

function valuesNamed(query: readonly QueryParameter[], name: string): string[] {
  return query.filter((parameter) => parameter.name === name).map((parameter) => parameter.value);
}

function isNamed(condition: NamedTest, parameter: LooseParameter): boolean {
  return parameter.names.has(foldName(condition.name)) && parameter.values.some(condition.test);
}

/** A header value as a whole and each part of a list (RFC 9110 §5.6.1). */
function anyPart(condition: NamedTest, values: readonly string[]): boolean {
  return values.some(
    (value) => condition.test(value) || value.split(',').some((part) => condition.test(part.trim())),
  );
}

/** Header names as origins may fold them: "_" for "-" (CGI, RFC 3875 §4.1.18). */
export function foldHeader(name: string): string {
  return foldCase(name).replaceAll('_', '-');
}
