import { formatAuthority } from '../net/authority.ts';
import type { CredentialPolicy } from '../policy/contract.ts';
import type { OutgoingRequest, RefuseVerdict } from './contract.ts';
import { hasPlace } from './homes.ts';
import type { OwnSignature } from './judge.ts';
import type { Desk } from './desk.ts';
import type { RequestParts } from './places.ts';
import type { Refusals } from './refusals.ts';
import { readSignature, resign, sign, SIGNED_FOR_MAX } from './sigv4.ts';
import type { AwsRequest, AwsSignature } from './sigv4.ts';

/** A signature that was made with this sandbox's placeholders. */
export interface VerifiedSignature extends OwnSignature {
  readonly signed: AwsSignature;
}

/** The AWS signature, verified with the placeholder: nobody signs here with a key of his own. */
export function ownSignature(
  desk: Pick<Desk, 'keyring' | 'hash' | 'clock'>,
  request: OutgoingRequest,
  swappable: readonly CredentialPolicy[],
  refusals: Refusals,
): VerifiedSignature | RefuseVerdict | undefined {
  const owners = swappable.filter((policy) => hasPlace(policy, 'sigv4'));
  const [one] = owners;
  if (one === undefined) return undefined;
  const read = readSignature(request);
  if (read.state === 'none') return undefined;
  if (read.state === 'bad') return refusals.signature(one.name, read.why);
  const { signed } = read;
  const known = desk.keyring.identify(signed.accessKeyId);
  const owner = owners.find((policy) => policy.name === known?.credential);
  if (owner === undefined || known?.kind !== 'placeholder' || known.field !== 'accessKeyId') {
    // A foreign one is for the pin to refuse; a placeholder is out of place here.
    return known === undefined ? undefined : refusals.known(known, 'the AWS signature');
  }
  const placeholders = desk.keyring.get(owner.name)?.placeholders ?? new Map<string, string>();
  const secret = Buffer.from(placeholders.get('secretAccessKey') ?? '');
  const expected = secret.length === 0 ? undefined : sign(request, signed, secret);
  if (expected === undefined)
    return refusals.signature(owner.name, 'what it covers cannot be read in one way only');
  if (!desk.keyring.same(expected, signed.signature))
    return refusals.signature(owner.name, 'it is not what the placeholder gives for this request');
  const late = dateProblem(signed, desk.clock());
  if (late !== undefined) return refusals.signature(owner.name, late);
  const token = signed.sessionToken;
  if (token !== undefined && !desk.keyring.same(token, placeholders.get('sessionToken') ?? ''))
    return refusals.foreign(owner.name, 'the session token', desk.hash(token));
  return { credential: owner.name, signed };
}

/** What is signed again is as fresh as what AWS takes from a client that signs itself, in either form and in both directions. */
function dateProblem({ coverage }: AwsSignature, now: number): string | undefined {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(coverage.date) ?? [];
  const at = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Math.abs(now - at) <= SIGNED_FOR_MAX * 1_000) return undefined;
  return `its date is not within ${SIGNED_FOR_MAX / 60} minutes of this machine's clock`;
}

/** The same head signed with the real keys, for the Host that upstream gets. */
export function resignWith(
  request: OutgoingRequest,
  head: { readonly target: string; readonly headers: readonly string[] },
  signature: VerifiedSignature,
  secrets: ReadonlyMap<string, Buffer> | undefined,
): { target: string; headers: string[] } | undefined {
  const secretAccessKey = secrets?.get('secretAccessKey');
  const accessKeyId = secrets?.get('accessKeyId')?.toString('latin1');
  const sessionToken = secrets?.get('sessionToken')?.toString('latin1');
  if (secretAccessKey === undefined || accessKeyId === undefined) return undefined;
  // The signature covers Host, and upstream gets it in the gateway's own spelling.
  const host = formatAuthority(request.host, request.port, 443);
  const headers = head.headers.map((value, i) =>
    i % 2 === 1 && head.headers[i - 1]?.toLowerCase() === 'host' ? host : value,
  );
  const aws: AwsRequest = { method: request.method, target: head.target, headers };
  const keys = { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
  const resigned = resign(
    request.body === undefined ? aws : { ...aws, body: request.body },
    signature.signed,
    keys,
  );
  return resigned === undefined ? undefined : { target: resigned.target, headers: [...resigned.headers] };
}

/** The head without the places that a signature is made of, which the signer has checked. */
export function withoutSignature(head: RequestParts): RequestParts {
  const [path = '', query] = head.target.split(/\?(.*)/s, 2);
  const kept = query?.split('&').filter((piece) => !/^x-amz-/i.test(piece));
  const headers = head.headers.flatMap((value, i) => {
    const name = head.headers[i - 1]?.toLowerCase() ?? '';
    if (i % 2 === 0 || isSignatureHeader(name, value)) return [];
    return [head.headers[i - 1] ?? '', value];
  });
  return { target: kept === undefined ? path : `${path}?${kept.join('&')}`, headers };
}

function isSignatureHeader(name: string, value: string): boolean {
  return name === 'x-amz-security-token' || (name === 'authorization' && value.startsWith('AWS4-'));
}
