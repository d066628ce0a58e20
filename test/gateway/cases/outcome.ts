import { sleep } from '../kit.ts';
import { readRequest } from './http-text.ts';
import type { Input } from './load.ts';
import type { Stage } from './stage.ts';
import type { Replies } from './wire.ts';

/** What became of an attempt, in the words of the case file. */
export type Outcome = 'allow' | 'deny' | 'reject' | 'drop' | 'config-error';

/** How much had happened before a step. */
export interface Marks {
  readonly events: number;
  /** That the origin got whole. */
  readonly requests: number;
  /** Of requests that the gateway read. */
  readonly records: number;
  readonly dialled: number;
  readonly arrivals: number;
  readonly messages: number;
}

/** One step of a row, done. */
export interface Step {
  readonly input: Input;
  readonly stage: Stage;
  readonly outcome: Outcome;
  readonly before: Marks;
  /** What the client received, without TLS. */
  readonly reply: Buffer;
  readonly closed: boolean;
  /** What the client sent, without TLS. */
  readonly sent: Buffer;
  readonly replies?: Replies;
  /** Status of the gateway's or origin's last answer. */
  readonly status?: number;
  /** The client's next request, where the row asks for one: a redirect that it follows. */
  readonly followed?: Step;
  /** What else a check wants to know. */
  readonly facts?: Readonly<Record<string, unknown>>;
}

export function marksOf(stage: Stage): Marks {
  return {
    events: stage.bench.events.length,
    requests: stage.origin.requests.length,
    records: stage.requests.length,
    dialled: stage.bench.dialled.length,
    arrivals: stage.origin.arrivals.length,
    messages: stage.origin.messages.length,
  };
}

export interface Seen {
  readonly reply: Buffer;
  readonly closed: boolean;
  readonly status?: number;
}

/** Statuses of a gateway that could not make sense of what it read. */
const MALFORMED = new Set([400, 411, 414, 417, 431, 501, 505]);

/** Judges by what reached the origin; a refusal is told apart by its record, a failure by what the client saw. */
export async function outcomeOf(stage: Stage, before: Marks, seen: Seen): Promise<Outcome> {
  if (reached(stage, before)) return cutByBudget(stage, before) ? 'deny' : 'allow';
  for (let i = 0; i < 20 && denialRule(stage, before) === undefined; i++) {
    await sleep(5);
    if (reached(stage, before)) return 'allow';
  }
  return refusalOf(stage, before, seen);
}

/** The same for what certainly did not pass. */
export function refusalOf(stage: Stage, before: Marks, seen: Seen): Outcome {
  const rule = denialRule(stage, before);
  if (rule === 'structural.malformed') return 'reject';
  if (rule !== undefined) return 'deny';
  if (seen.status !== undefined && MALFORMED.has(seen.status)) return 'reject';
  const isAlert = seen.reply[0] === 21;
  return seen.closed || isAlert || (seen.status ?? 0) >= 400 ? 'deny' : 'drop';
}

function reached(stage: Stage, before: Marks): boolean {
  const { origin } = stage;
  if (origin.requests.length > before.requests) return true;
  return origin.arrivals
    .slice(before.arrivals)
    .some(
      ({ secure, raw }) =>
        !secure && raw.length > 0 && (origin.opaque || readRequest(raw).state === 'not-http'),
    );
}

function cutByBudget(stage: Stage, before: Marks): boolean {
  return denialRule(stage, before)?.includes('.budget.') === true && stage.origin.opaque;
}

/** The rule of the last refusal on record since then. */
export function denialRule(stage: Stage, before: Marks): string | undefined {
  const event = stage.bench.events.slice(before.events).findLast(({ action }) => action === 'deny');
  const record = stage.requests.slice(before.records).findLast(({ action }) => action === 'deny');
  return event?.rule ?? record?.rule;
}
