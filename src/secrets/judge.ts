import type { CredentialPlace, CredentialPolicy, PinRule } from '../policy/contract.ts';
import type { OutgoingRequest, PinState, RefuseVerdict } from './contract.ts';
import { collectBearings } from './places.ts';
import type { Bearing } from './places.ts';
import type { Known, Recognizer } from './recognizer.ts';
import type { Refusals } from './refusals.ts';
import { isHarmlessPartner } from './schemes.ts';
import type { Reading } from './schemes.ts';

/** A part of a place that a secret replaces, or text that stays. */
export type SwapPart = { readonly field: string } | { readonly text: string };

/** A secret to be put in. */
export interface Swap {
  readonly credential: string;
  readonly reading: Reading;
  readonly parts: readonly SwapPart[];
}

/** The one AWS signature of a request, when it was made with this sandbox's placeholders. */
export interface OwnSignature {
  readonly credential: string;
}

/** What the judgement is made on. */
export interface Case {
  readonly request: OutgoingRequest;
  /** Credentials that may be put into this very request: its rule, host, port and path are theirs. */
  readonly swappable: readonly CredentialPolicy[];
  readonly identify: (text: string) => Known | undefined;
  readonly recognizer: Recognizer;
  readonly hash: (value: string) => string;
  readonly refusals: Refusals;
  /** Verified already. */
  readonly signature: OwnSignature | undefined;
  /** Credentials whose placeholder is a whole value of the body. */
  readonly inBody: readonly string[];
  /** Sent to the reader of a refusal: where the placeholder goes. */
  readonly remedy: string | undefined;
}

export interface Judged {
  readonly swaps: readonly Swap[];
  readonly pin?: PinState;
}

type Finding =
  | { readonly is: 'own'; readonly swap: Swap }
  | { readonly is: 'known'; readonly known: Known; readonly place: string }
  | { readonly is: 'foreign'; readonly value: string; readonly place: string }
  | { readonly is: 'empty' };

/**
 * The pin algorithm (EGRESS §6): every place that bears a credential is looked at; on a pinned host exactly one holds the placeholder, in
 * a listed place, and all others hold nothing. Credentials that the same rule puts in beside it may stand in their own places.
 */
export function judgePlaces(subject: Case): Judged | RefuseVerdict {
  const { request, swappable, refusals, signature } = subject;
  const pin = request.rule.requests?.pin;
  const bearings = collectBearings(
    request,
    swappable.flatMap((credential) => credential.places),
  );
  const findings = bearings
    .filter((bearing) => !(bearing.aws && signature !== undefined))
    .map((bearing) => look(subject, bearing, pin));
  const known = findings.find((finding) => finding.is === 'known');
  if (known !== undefined) return refusals.known(known.known, known.place);
  const swaps = findings.flatMap((finding) => (finding.is === 'own' ? [finding.swap] : []));
  if (pin === undefined) return { swaps };
  return judgePin(subject, pin, findings, swaps);
}

function judgePin(
  subject: Case,
  pin: PinRule,
  findings: readonly Finding[],
  swaps: readonly Swap[],
): Judged | RefuseVerdict {
  const { refusals, signature } = subject;
  const foreign = findings.find((finding) => finding.is === 'foreign');
  if (foreign !== undefined)
    return refusals.foreign(pin.credential, foreign.place, subject.hash(foreign.value));
  const pinned = swaps.filter((swap) => swap.credential === pin.credential).length;
  const count = pinned + (signature?.credential === pin.credential ? 1 : 0);
  const empty = findings.some((finding) => finding.is === 'empty');
  if (count > 1 || (count === 1 && empty)) return refusals.multiple(pin.credential);
  const bodyCounts = pin.places === undefined || pin.places.some(({ kind }) => kind === 'body');
  if (count === 0 && !empty && bodyCounts && subject.inBody.includes(pin.credential))
    return { swaps, pin: 'ok' };
  if (count === 0 && (pin.require || empty)) return refusals.missing(pin.credential, subject.remedy);
  return { swaps, pin: count === 1 ? 'ok' : 'absent' };
}

function look(subject: Case, bearing: Bearing, pin: PinRule | undefined): Finding {
  if (bearing.value.trim() === '') return { is: 'empty' };
  let misplaced: Known | undefined;
  for (const reading of bearing.readings) {
    const knowns = reading.parts.map(subject.identify);
    const first = knowns.find((known) => known !== undefined);
    if (first === undefined) continue;
    misplaced ??= first;
    const swap = ownSwap(subject, reading, knowns);
    if (swap === undefined || !isPinnedPlace(pin, swap, reading.place)) continue;
    const partner = foreignPartner(reading, knowns);
    if (pin !== undefined && partner !== undefined)
      return { is: 'foreign', value: partner, place: bearing.label };
    return { is: 'own', swap };
  }
  misplaced ??= pin === undefined ? undefined : subject.recognizer.findText(bearing.value);
  if (misplaced !== undefined) return { is: 'known', known: misplaced, place: bearing.label };
  return { is: 'foreign', value: bearing.value, place: bearing.label };
}

/** The swap, when everything known in there is one credential's own placeholder in one of its places. */
function ownSwap(subject: Case, reading: Reading, knowns: readonly (Known | undefined)[]): Swap | undefined {
  const found = knowns.filter((known) => known !== undefined);
  const [first] = found;
  if (first === undefined || found.some((known) => known.kind !== 'placeholder')) return undefined;
  // Both halves of a Basic pair the same: which of them counts is for the origin to choose.
  if (
    found.some((known, i) => known.credential !== first.credential || (i > 0 && known.field === first.field))
  )
    return undefined;
  const credential = subject.swappable.find(({ name }) => name === first.credential);
  if (credential?.places.some((place) => samePlace(place, reading.place)) !== true) return undefined;
  const parts = reading.parts.map((text, i): SwapPart => {
    const known = knowns[i];
    return known === undefined ? { text } : { field: known.field };
  });
  return { credential: first.credential, reading, parts };
}

function isPinnedPlace(pin: PinRule | undefined, swap: Swap, place: CredentialPlace): boolean {
  if (pin === undefined || swap.credential !== pin.credential || pin.places === undefined) return true;
  return pin.places.some((listed) => samePlace(listed, place));
}

function foreignPartner(reading: Reading, knowns: readonly (Known | undefined)[]): string | undefined {
  if (reading.parts.length < 2) return undefined;
  return reading.parts.find(
    (part, i) => knowns[i] === undefined && !isHarmlessPartner(part, i === 0 ? 'user' : 'password'),
  );
}

function samePlace(a: CredentialPlace, b: CredentialPlace): boolean {
  switch (a.kind) {
    case 'header':
      return b.kind === 'header' && a.name === b.name && a.scheme === b.scheme;
    case 'query':
    case 'cookie':
      return b.kind === a.kind && a.name === b.name;
    default:
      return a.kind === b.kind;
  }
}
