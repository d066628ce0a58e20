import { valuesOf } from '../net/http-head.ts';
import type { CredentialPolicy } from '../policy/contract.ts';
import { ownSignature, resignWith, withoutSignature } from './aws.ts';
import type { VerifiedSignature } from './aws.ts';
import { findInBody, writeBody } from './body-places.ts';
import type { BodyPlaceholders } from './body-places.ts';
import type { CredentialVerdict, OutgoingRequest, RefuseVerdict } from './contract.ts';
import type { Desk } from './desk.ts';
import { applyEdits, findInHead } from './edits.ts';
import type { Edit } from './edits.ts';
import { judgeForm } from './form-judge.ts';
import { swappableFor } from './homes.ts';
import { judgePlaces } from './judge.ts';
import type { Judged, Swap } from './judge.ts';
import type { Keyring } from './keyring.ts';
import type { Known } from './recognizer.ts';
import { Refusals } from './refusals.ts';

/** Judges one request, and puts the secrets in. */
export async function authorizeRequest(desk: Desk, request: OutgoingRequest): Promise<CredentialVerdict> {
  const passing = judgeHead(desk, request);
  return 'state' in passing ? passing : finish(passing);
}

/** What `authorizeRequest` would refuse for the places of credentials alone. Nothing is revealed, and no source is asked. */
export function checkRequest(desk: Desk, request: OutgoingRequest): RefuseVerdict | undefined {
  const passing = judgeHead(desk, request);
  return 'state' in passing ? passing : findStray(passing);
}

function judgeHead(desk: Desk, request: OutgoingRequest): Passing | RefuseVerdict {
  const refusals = new Refusals(request);
  const { keyring } = desk;
  if (keyring.disposed) return refusals.source('every credential');
  const swappable = swappableFor(keyring, request);
  const leak = findLeak(keyring, request, refusals);
  if (leak !== undefined) return leak;
  const pin = request.rule.requests?.pin;
  if (pin !== undefined && keyring.get(pin.credential) === undefined)
    return refusals.undefinedPin(pin.credential);
  if (pin !== undefined && !request.secure) return refusals.cleartext(pin.credential);
  const signature = ownSignature(desk, request, swappable, refusals);
  if (signature !== undefined && 'state' in signature) return signature;
  const body = findInBody(keyring, request, swappable);
  const judged = judgePlaces({
    request,
    swappable,
    identify: (text) => keyring.identify(text),
    recognizer: keyring.recognizer(),
    hash: desk.hash,
    refusals,
    signature,
    inBody: body.owners,
    remedy: remedyFor(keyring.get(pin?.credential ?? '')?.policy),
  });
  if ('state' in judged) return judged;
  const form = judgeForm({ request, swappable, refusals, hash: desk.hash }, body.rest);
  if (form !== undefined) return form;
  return { desk, request, refusals, body, judged, signature };
}

/** What is known of a request that may pass as far as its places go. */
interface Passing {
  readonly desk: Desk;
  readonly request: OutgoingRequest;
  readonly refusals: Refusals;
  readonly body: BodyPlaceholders;
  readonly judged: Judged;
  readonly signature: VerifiedSignature | undefined;
}

async function finish(passing: Passing): Promise<CredentialVerdict> {
  const { desk, request, refusals } = passing;
  const stray = findStray(passing);
  if (stray !== undefined) return stray;
  const names = credentialsOf(passing);
  const [first] = names;
  if (first !== undefined && !request.secure) return refusals.cleartext(first);
  const judgedOn = desk.keyring.recognizer();
  await Promise.all([...names].map(async (name) => desk.keyring.get(name)?.settle()));
  if (desk.keyring.recognizer() === judgedOn) return fill(passing, names);
  // Homes, places and placeholders may be others by now, beside the values.
  const now = judgeHead(desk, request);
  if ('state' in now) return now;
  return findStray(now) ?? fill(now, credentialsOf(now));
}

function credentialsOf({ judged, signature, body }: Passing): ReadonlySet<string> {
  const names = new Set(judged.swaps.map((swap) => swap.credential));
  if (signature !== undefined) names.add(signature.credential);
  for (const name of body.owners) names.add(name);
  return names;
}

function fill(passing: Passing, names: ReadonlySet<string>): CredentialVerdict {
  const { desk, refusals } = passing;
  // All at once and after the last await: a revocation meanwhile, also of another of them, is seen by `usable`.
  const secrets = new Map<string, ReadonlyMap<string, Buffer>>();
  for (const name of names) {
    const usable = desk.keyring.get(name)?.usable() ?? 'failed';
    if (usable === 'revoked') return refusals.revoked(name);
    if (usable === 'failed') return refusals.source(name);
    secrets.set(name, usable);
  }
  return write(passing, secrets);
}

function write(
  passing: Passing,
  secrets: ReadonlyMap<string, ReadonlyMap<string, Buffer>>,
): CredentialVerdict {
  const { desk, request, judged, signature, refusals } = passing;
  const edits = judged.swaps.map((swap) => editOf(swap, secrets.get(swap.credential)));
  const written = applyEdits(request, edits);
  let head = { target: written.target, headers: plainReplyHeaders(passing, written.headers) };
  if (signature !== undefined) {
    const resigned = resignWith(request, head, signature, secrets.get(signature.credential));
    if (resigned === undefined) return refusals.signature(signature.credential, 'it cannot be made again');
    head = resigned;
  }
  const body = writeBody(desk.keyring, request, passing.body.owners, secrets);
  const { target, headers } = head;
  return {
    state: 'pass',
    target,
    headers,
    ...(body === undefined ? {} : { body }),
    ...(secrets.size === 0 ? {} : { credential: [...secrets.keys()].join(', ') }),
    ...(judged.pin === undefined ? {} : { pin: judged.pin }),
  };
}

function editOf(swap: Swap, secrets: ReadonlyMap<string, Buffer> | undefined): Edit {
  const parts = swap.parts.map((part) =>
    'text' in part ? part.text : (secrets?.get(part.field)?.toString('latin1') ?? ''),
  );
  return { spot: swap.reading.spot, text: swap.reading.encode(parts) };
}

function findLeak(keyring: Keyring, request: OutgoingRequest, refusals: Refusals): RefuseVerdict | undefined {
  const recognizer = keyring.recognizer();
  const ignore = ({ kind }: Known): boolean => kind === 'placeholder' || kind === 'stale';
  const found = findInHead(recognizer, request, ignore);
  if (found !== undefined) return refusals.known(found.known, found.place);
  const inBody = request.body === undefined ? undefined : recognizer.find(request.body, ignore);
  return inBody === undefined ? undefined : refusals.known(inBody, 'the body');
}

/** A placeholder anywhere but in the places that were judged. */
function findStray(passing: Passing): RefuseVerdict | undefined {
  const { desk, request, refusals, judged, signature } = passing;
  const recognizer = desk.keyring.recognizer();
  const kept = judged.swaps.map(({ reading, parts }) => {
    const others = parts.flatMap((part) => ('text' in part ? [part.text] : []));
    return { spot: reading.spot, text: others.join('\n') };
  });
  const rest = applyEdits(request, kept);
  const found =
    signature === undefined
      ? findInHead(recognizer, rest)
      : (findInHead(recognizer, withoutSignature(rest)) ??
        findInHead(recognizer, rest, ({ credential }) => credential === signature.credential));
  if (found !== undefined) return refusals.known(found.known, found.place);
  const { rest: body } = passing.body;
  const inBody = body === undefined ? undefined : recognizer.find(body);
  return inBody === undefined ? undefined : refusals.known(inBody, 'the body');
}

/** A reply that is scrubbed must not come compressed, nor in pieces of the client's choosing where a secret could be cut by them. */
function plainReplyHeaders(
  { desk: { keyring }, request: { host, port } }: Passing,
  headers: readonly string[],
): readonly string[] {
  if (!keyring.isScrubbedAt(host, port)) return headers;
  const dropped = keyring.partsPassAt(host, port)
    ? ['accept-encoding']
    : ['range', 'if-range', 'accept-encoding'];
  const out: string[] = [];
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    if (!dropped.includes(name.toLowerCase())) out.push(name, headers[i + 1] ?? '');
  }
  return valuesOf(headers, 'accept-encoding').length === 0 ? out : [...out, 'accept-encoding', 'identity'];
}

function remedyFor(policy: CredentialPolicy | undefined): string | undefined {
  const [variable] = Object.keys(policy?.expose.env ?? {});
  return variable === undefined ? undefined : `send the value of $${variable} from inside the sandbox`;
}
