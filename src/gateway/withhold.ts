import type { NetworkEvent, RecordGuard, RequestRecord } from './contract.ts';

/** Stands for text that is not repeated. */
export const WITHHELD = '(withheld)';

/** Every secret. */
const ALL: RecordGuard = Object.freeze({ holdsSecret: () => true });

/** Mark of a text that was cut (`printable`): what stands before it may be the beginning of a token that no pattern knows. */
const CUT = /[^\s/?&="]*…\(\d+\)/g;
const QUOTED = /"(?:[^"\\]|\\.)*"/g;
/** Where a path in a record may have been cut. */
const PATH_CUT = 1_024;

type Holds = (text: string) => boolean;

/**
 * Keeps secrets and token shapes out of what is recorded of a refusal: its words and its path are the sandbox's own choice. What looks for
 * them is loaded when the first such record is there; records wait for it, in their order, and when it cannot be loaded all is withheld.
 */
export class Withholder {
  readonly #load: (() => Promise<RecordGuard>) | undefined;
  #guard: RecordGuard | undefined;
  #loading: Promise<void> | undefined;
  #waiting: (() => void)[] = [];

  /** Without `load` nothing is looked for. */
  constructor(load: (() => Promise<RecordGuard>) | undefined) {
    this.#load = load;
  }

  /** A verdict whose words quote a request; others go on at once. */
  event(event: NetworkEvent, sink: (event: NetworkEvent) => void): void {
    if (event.action === 'allow' || !event.reason.includes('"')) return sink(event);
    this.#withGuard(() => sink(withheldEvent(event, (text) => this.#holds(text))));
  }

  /** A refusal, or what would have been one; what was allowed goes on at once. */
  request(record: RequestRecord, sink: (record: RequestRecord) => void): void {
    if (record.action === 'allow' && record.wouldDeny === undefined) return sink(record);
    this.#withGuard(() => sink(withheldRequest(record, (text) => this.#holds(text))));
  }

  /** Resolves when nothing waits any more. */
  async settle(): Promise<void> {
    await this.#loading;
  }

  #withGuard(tell: () => void): void {
    if (this.#guard !== undefined || this.#load === undefined) return tell();
    this.#waiting.push(tell);
    this.#loading ??= this.#loadGuard(this.#load);
  }

  async #loadGuard(load: () => Promise<RecordGuard>): Promise<void> {
    this.#guard = await load().catch(() => ALL);
    for (const tell of this.#waiting.splice(0)) tell();
  }

  #holds(text: string): boolean {
    return this.#guard?.holdsSecret(text) === true;
  }
}

function withheldEvent(event: NetworkEvent, holds: Holds): NetworkEvent {
  const { reason, remedy } = event;
  // A remedy spells the path once more, and cuts it elsewhere.
  const shown = withheldText(reason, holds);
  const spoilt = shown !== reason;
  return {
    ...event,
    reason: shown,
    ...(remedy === undefined ? {} : { remedy: spoilt ? withoutQuotes(remedy) : withheldText(remedy, holds) }),
  };
}

function withheldRequest(record: RequestRecord, holds: Holds): RequestRecord {
  const { path, queryNames, method, reason, wouldDeny } = record;
  const whole = path.length < PATH_CUT ? path : path.replace(/[^/]*$/, '...');
  const spoilt = holds([whole, ...queryNames].join('\n'));
  const words = (text: string): string => (spoilt ? withoutQuotes(text) : withheldText(text, holds));
  return {
    ...record,
    method: holds(method) ? WITHHELD : method,
    path: spoilt ? WITHHELD : whole,
    queryNames: spoilt ? [] : queryNames,
    reason: words(reason),
    ...(wouldDeny === undefined ? {} : { wouldDeny: words(wouldDeny) }),
  };
}

/** The text; or without what it quotes, when that is enough; or nothing of it. */
function withheldText(text: string, holds: Holds): string {
  const whole = text.replace(CUT, '...');
  if (!holds(whole)) return whole;
  const bare = withoutQuotes(whole);
  return holds(bare) ? WITHHELD : bare;
}

function withoutQuotes(text: string): string {
  return text.replace(QUOTED, `"${WITHHELD}"`);
}
