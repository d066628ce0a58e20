import { decodeStrictly, scopeText, sha256, signatureOf, uriEncode } from './sigv4-canonical.ts';
import type { Coverage, CredentialScope, SignedRequest } from './sigv4-canonical.ts';

/** A well-formed AWS signature as a request carries it. */
export interface AwsSignature {
  readonly form: 'header' | 'query';
  readonly accessKeyId: string;
  readonly signature: string;
  /** Without a payload hash it is that of the body, which the caller has to bring. */
  readonly coverage: Omit<Coverage, 'payloadHash'> & { readonly payloadHash: string | undefined };
  readonly sessionToken: string | undefined;
  /** Seconds from its date for which a presigned URL is good; undefined for a header, and where the URL does not say. */
  readonly expires: number | undefined;
}

export type SignatureResult =
  | { readonly state: 'none' }
  | { readonly state: 'bad'; readonly why: string }
  | { readonly state: 'signed'; readonly signed: AwsSignature };

/** A key pair, and the token of a temporary one. */
export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: Uint8Array;
  readonly sessionToken?: string;
}

/** A signed request, with where it will arrive: upstream gets this name in Host. */
export interface AwsRequest extends SignedRequest {
  readonly body?: Uint8Array;
}

/** Seconds, the most that AWS takes (S3 API reference, "Authenticating requests: using query parameters"). */
export const EXPIRES_MAX = 604_800;
/**
 * Seconds from its date for which a presigned URL is good once it was signed again, whatever it said: it is sent by the gateway itself,
 * and one that turns up in a log of the way must not be a credential for days. AWS takes header signatures for as long.
 */
export const SIGNED_FOR_MAX = 900;

const TOKEN_HEADER = 'x-amz-security-token';
const TOKEN_QUERY = 'X-Amz-Security-Token';
const HASH_HEADER = 'x-amz-content-sha256';
const HEADER_FORM =
  /^AWS4-HMAC-SHA256 +Credential=([^,\s]+) *, *SignedHeaders=([^,\s]+) *, *Signature=([0-9a-f]{64})$/;
const SCOPE = /^([\x21-\x2e\x30-\x7e]{1,128})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request$/;
/** Payloads whose hash is not that of the body, and that hold no further signatures. */
const UNSIGNED: ReadonlySet<string> = new Set(['UNSIGNED-PAYLOAD', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER']);

/** Reads the signature of a request, header form or presigned URL. */
export function readSignature(request: SignedRequest): SignatureResult {
  const authorization = valuesOf(request, 'authorization').filter((value) => value.startsWith('AWS4-'));
  const query = queryOf(request.target);
  const presigned = [...query.keys()].some((name) =>
    /^x-amz-(signature|credential|algorithm|security-token)$/i.test(name),
  );
  if (authorization.length > 1 || (authorization.length === 1 && presigned))
    return bad('there is more than one');
  const [header] = authorization;
  if (header !== undefined) return readHeaderForm(request, header);
  return presigned ? readQueryForm(request, query) : { state: 'none' };
}

/** True when the signature covers the body itself, so that it takes the whole body to check it. */
export function signsBody(request: SignedRequest): boolean {
  const read = readSignature(request);
  return read.state === 'signed' && read.signed.coverage.payloadHash === undefined;
}

/** The signature that these keys give, hex; undefined when the request cannot be read in one way only. */
export function sign(request: AwsRequest, signed: AwsSignature, secretKey: Uint8Array): string | undefined {
  return signatureOf(request, coverageOf(request, signed), secretKey);
}

/**
 * The same request signed with other keys: same signed headers, same scope and date. A session token is put in, replaced or taken out as
 * the keys have one.
 */
export function resign(request: AwsRequest, signed: AwsSignature, keys: AwsKeys): SignedRequest | undefined {
  return signed.form === 'header' ? resignHeader(request, signed, keys) : resignQuery(request, signed, keys);
}

function resignHeader(request: AwsRequest, signed: AwsSignature, keys: AwsKeys): SignedRequest | undefined {
  const others = dropHeaders(request.headers, ['authorization', TOKEN_HEADER]);
  const token = keys.sessionToken === undefined ? [] : [TOKEN_HEADER, keys.sessionToken];
  // A header that was taken out, such as a range, is not signed any more.
  const named = signed.coverage.signedHeaders.filter(
    (name) => name !== TOKEN_HEADER && (name === 'host' || valuesOf(request, name).length > 0),
  );
  const signedHeaders = token.length === 0 ? named : [...named, TOKEN_HEADER].sort();
  const unsigned = { ...request, headers: [...others, ...token] };
  const coverage = { ...signed.coverage, signedHeaders };
  const signature = sign(unsigned, { ...signed, coverage }, keys.secretAccessKey);
  if (signature === undefined) return undefined;
  const credential = `Credential=${keys.accessKeyId}/${scopeText(coverage.scope)}`;
  const value = `AWS4-HMAC-SHA256 ${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`;
  return { ...unsigned, headers: [...unsigned.headers, 'authorization', value] };
}

function resignQuery(request: AwsRequest, signed: AwsSignature, keys: AwsKeys): SignedRequest | undefined {
  const mark = request.target.indexOf('?');
  const pieces = request.target
    .slice(mark + 1)
    .split('&')
    .filter(
      (piece) =>
        !/^X-Amz-(Signature|Credential|Security-Token|Expires)(=|$)/i.test(decodeStrictly(piece) ?? piece),
    );
  if (signed.expires !== undefined) pieces.push(`X-Amz-Expires=${Math.min(signed.expires, SIGNED_FOR_MAX)}`);
  pieces.push(`X-Amz-Credential=${uriEncode(`${keys.accessKeyId}/${scopeText(signed.coverage.scope)}`)}`);
  if (keys.sessionToken !== undefined) pieces.push(`${TOKEN_QUERY}=${uriEncode(keys.sessionToken)}`);
  const target = `${request.target.slice(0, mark)}?${pieces.join('&')}`;
  const headers = dropHeaders(request.headers, [TOKEN_HEADER]);
  const signature = sign({ ...request, target, headers }, signed, keys.secretAccessKey);
  if (signature === undefined) return undefined;
  return { method: request.method, headers, target: `${target}&X-Amz-Signature=${signature}` };
}

function coverageOf(request: AwsRequest, signed: AwsSignature): Coverage {
  const payloadHash = signed.coverage.payloadHash ?? sha256(request.body ?? new Uint8Array());
  return { ...signed.coverage, payloadHash };
}

function readHeaderForm(request: SignedRequest, header: string): SignatureResult {
  const parts = HEADER_FORM.exec(header);
  if (parts === null) return bad('it is not of the form that can be checked');
  const [, credential = '', names = '', signature = ''] = parts;
  const dates = [...valuesOf(request, 'x-amz-date'), ...valuesOf(request, 'date')];
  const tokens = valuesOf(request, TOKEN_HEADER);
  if (tokens.length > 1) return bad('it has more than one session token');
  return assemble({
    form: 'header',
    credential,
    names,
    signature,
    date: dates[0] ?? '',
    hashes: valuesOf(request, HASH_HEADER),
    sessionToken: tokens[0],
    expires: undefined,
  });
}

function readQueryForm(request: SignedRequest, query: Query): SignatureResult {
  const one = (name: string): string | undefined =>
    query.get(name)?.length === 1 ? query.get(name)?.[0] : undefined;
  const signature = one('X-Amz-Signature') ?? '';
  if (one('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256' || !/^[0-9a-f]{64}$/.test(signature))
    return bad('the presigned URL is not of the form that can be checked');
  const folded = [...query.keys()].map((name) => name.toLowerCase().replaceAll('_', '-'));
  if (folded.some((name, i) => name.startsWith('x-amz-') && folded.indexOf(name) !== i))
    return bad('the presigned URL has one parameter in two spellings');
  const expires = readExpires(query.get('X-Amz-Expires'), folded.includes('x-amz-expires'));
  if (typeof expires === 'string') return bad(expires);
  const tokens = [...(query.get(TOKEN_QUERY) ?? []), ...valuesOf(request, TOKEN_HEADER)];
  if (tokens.length > 1) return bad('it has more than one session token');
  const stated = [...valuesOf(request, HASH_HEADER), ...(query.get('X-Amz-Content-Sha256') ?? [])];
  const credential = one('X-Amz-Credential') ?? '';
  // S3 does not hash the body of a presigned request; other services do (AWS SigV4, "Create a canonical request").
  const s3 = /\/s3[a-z-]*\/aws4_request$/.test(credential);
  return assemble({
    form: 'query',
    credential,
    names: one('X-Amz-SignedHeaders') ?? '',
    signature,
    date: one('X-Amz-Date') ?? '',
    hashes: stated.length === 0 && s3 ? ['UNSIGNED-PAYLOAD'] : stated,
    sessionToken: tokens[0],
    expires,
  });
}

/** Services other than S3 do without it, and then take the URL for some minutes. */
function readExpires(values: readonly string[] | undefined, named: boolean): number | string | undefined {
  if (!named) return undefined;
  const [text = ''] = values ?? [];
  if (values?.length !== 1 || !/^[1-9]\d{0,5}$/.test(text))
    return 'its X-Amz-Expires is not one plain number';
  return Number(text) > EXPIRES_MAX ? `its X-Amz-Expires is over ${EXPIRES_MAX} s` : Number(text);
}

interface Raw {
  readonly form: 'header' | 'query';
  readonly credential: string;
  readonly names: string;
  readonly signature: string;
  readonly date: string;
  readonly hashes: readonly string[];
  readonly sessionToken: string | undefined;
  readonly expires: number | undefined;
}

function assemble(raw: Raw): SignatureResult {
  const parts = SCOPE.exec(raw.credential);
  if (parts === null) return bad('its credential scope is malformed');
  const [, accessKeyId = '', date = '', region = '', service = ''] = parts;
  const scope: CredentialScope = { date, region, service };
  if (!/^\d{8}T\d{6}Z$/.test(raw.date) || !raw.date.startsWith(date))
    return bad('its date does not fit its scope');
  const signedHeaders = raw.names.split(';');
  const sorted = [...new Set(signedHeaders)].sort();
  if (sorted.join(';') !== raw.names || !/^[!#$%&'*+.^_`|~0-9a-z;-]+$/.test(raw.names))
    return bad('its signed headers are not a sorted list of lower-case names');
  if (!signedHeaders.includes('host')) return bad('it does not cover the host');
  const hash = payloadHashOf(raw.hashes);
  if (hash.why !== undefined) return bad(hash.why);
  const coverage = { scope, signedHeaders, date: raw.date, payloadHash: hash.value };
  const { form, signature, sessionToken, expires } = raw;
  return { state: 'signed', signed: { form, accessKeyId, signature, coverage, sessionToken, expires } };
}

function payloadHashOf(hashes: readonly string[]): { readonly value?: string; readonly why?: string } {
  const [hash] = hashes;
  if (hash === undefined) return {};
  if (hashes.length > 1) return { why: 'it states more than one payload hash' };
  if (/^[0-9a-f]{64}$/.test(hash) || UNSIGNED.has(hash)) return { value: hash };
  if (hash.startsWith('STREAMING-'))
    return { why: 'each chunk of the body is signed; send it with an unsigned or a whole payload' };
  return { why: 'its payload hash is malformed' };
}

type Query = ReadonlyMap<string, readonly string[]>;

/** Decoded names and values; a part that is no valid escape is kept as it is and fits nothing. */
function queryOf(target: string): Query {
  const query = new Map<string, string[]>();
  const mark = target.indexOf('?');
  if (mark === -1) return query;
  for (const piece of target.slice(mark + 1).split('&')) {
    const equals = piece.indexOf('=');
    const name = equals === -1 ? piece : piece.slice(0, equals);
    const value = equals === -1 ? '' : piece.slice(equals + 1);
    const key = decodeStrictly(name) ?? name;
    query.set(key, [...(query.get(key) ?? []), decodeStrictly(value) ?? value]);
  }
  return query;
}

function valuesOf(request: SignedRequest, name: string): string[] {
  return request.headers.flatMap((value, i) =>
    i % 2 === 1 && request.headers[i - 1]?.toLowerCase() === name ? [value] : [],
  );
}

function dropHeaders(headers: readonly string[], names: readonly string[]): string[] {
  const kept: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!names.includes(name.toLowerCase())) kept.push(name, headers[i + 1] ?? '');
  }
  return kept;
}

function bad(why: string): SignatureResult {
  return { state: 'bad', why };
}
