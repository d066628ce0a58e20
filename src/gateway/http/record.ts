import type { CredentialVerdict, PinState, RequestRecord, ScanFinding, Verdict } from '../contract.ts';
import type { HttpScope, Place } from '../core.ts';
import type { Allowed } from '../decide.ts';
import { WITHHELD } from '../withhold.ts';
import type { ExchangeRequest } from './contract.ts';
import type { UnreadFacts } from './unread.ts';

/** Longest path in a record, in characters. */
const PATH_MAX = 1024;
const METHOD_MAX = 32;
/** What is known of a request, as it becomes known. */
export interface Notes {
  readonly startedAt: number;
  path: string;
  queryNames: readonly string[];
  /** What the client got. */
  status: number;
  up: number;
  down: number;
  /** The refusal that ended it. */
  refusal: Verdict | undefined;
  place: { readonly host: string; readonly port: number } | undefined;
  target: Allowed | undefined;
  wouldDeny: string | undefined;
  credential: string | undefined;
  pin: PinState | undefined;
  foreign: string | undefined;
  alarm: boolean;
  /** What the broker said, where something else was the refusal. */
  leak: string | undefined;
  findings: ScanFinding[];
}

export function newNotes(request: ExchangeRequest): Notes {
  return {
    startedAt: Date.now(),
    path: request.target,
    queryNames: [],
    status: 0,
    up: 0,
    down: 0,
    refusal: undefined,
    place: undefined,
    target: undefined,
    wouldDeny: undefined,
    credential: undefined,
    pin: undefined,
    foreign: undefined,
    alarm: false,
    leak: undefined,
    findings: [],
  };
}

/** What a broker's refusal adds to the record. */
export function noteRefusal(notes: Notes, refusal: Extract<CredentialVerdict, { state: 'refuse' }>): void {
  notes.pin = refusal.pin;
  notes.foreign = refusal.foreign;
  notes.alarm = refusal.alarm === true;
  notes.leak = refusal.verdict.reason;
}

/** The record of a request that is over. Values of headers, queries and bodies are not in it. */
export function recordOf(scope: HttpScope, request: ExchangeRequest, notes: Notes): RequestRecord {
  const { refusal, target } = notes;
  const verdict = refusal ?? target?.verdict;
  const place = target ?? notes.place;
  return {
    action: refusal === undefined ? 'allow' : 'deny',
    rule: verdict?.rule ?? '',
    reason: verdict?.reason ?? '',
    entry: scope.entry,
    host: place?.host ?? '(none)',
    port: place?.port ?? 0,
    http: request.http,
    method: printable(request.method.slice(0, METHOD_MAX)),
    path: holdsSecret(notes) ? WITHHELD : printable(withoutQuery(notes.path).slice(0, PATH_MAX)),
    queryNames: holdsSecret(notes) ? [] : notes.queryNames,
    status: notes.status,
    upBytes: notes.up,
    downBytes: notes.down,
    durationMs: Date.now() - notes.startedAt,
    ...(notes.wouldDeny === undefined ? {} : { wouldDeny: shownWouldDeny(notes, notes.wouldDeny) }),
    ...(notes.credential === undefined ? {} : { credential: notes.credential }),
    ...(notes.pin === undefined ? {} : { pin: notes.pin }),
    ...(notes.foreign === undefined ? {} : { foreign: notes.foreign }),
    ...(notes.findings.length === 0 ? {} : { dlp: notes.findings }),
    ...(notes.alarm ? { alarm: true } : {}),
  };
}

/** The record of a head that never became an exchange, with what is known of it: often nothing but where it was sent. */
export function unreadRecord(place: Place, verdict: Verdict, facts: UnreadFacts): RequestRecord {
  const { rule, reason } = verdict;
  const { http, status, method = '', path = '', repeats } = facts;
  return {
    ...place,
    action: 'deny',
    rule,
    reason,
    http,
    method: printable(method.slice(0, METHOD_MAX)),
    path: printable(withoutQuery(path).slice(0, PATH_MAX)),
    queryNames: [],
    status,
    upBytes: 0,
    downBytes: 0,
    durationMs: 0,
    ...(repeats === undefined ? {} : { repeats }),
  };
}

/** A rule's words may quote the path. */
function shownWouldDeny(notes: Notes, wouldDeny: string): string {
  return holdsSecret(notes) ? wouldDeny.replace(/: .*$/s, `: ${WITHHELD}`) : wouldDeny;
}

/** True when a secret was found in the target itself: its record must not become the leak. */
export function holdsSecret({ alarm, findings, refusal, leak }: Notes): boolean {
  if (findings.some(({ place }) => place === 'path' || place === 'query')) return true;
  return alarm && /\bis in the (?:path|query|request)\b/.test(leak ?? refusal?.reason ?? '');
}

function withoutQuery(path: string): string {
  const at = path.indexOf('?');
  return at < 0 ? path : path.slice(0, at);
}

/** Terminals and log viewers see nothing but visible ASCII. */
function printable(text: string): string {
  return /^[\x20-\x7e]*$/.test(text)
    ? text
    : text.replace(
        /[^\x20-\x7e]/g,
        (char) => `\\u${(char.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`,
      );
}
