import { writeSync } from 'node:fs';
import { printablePath } from '../base/path-bytes.ts';
import type { NetworkEvent } from '../gateway/contract.ts';

/** Lines for people on stderr, written directly: opening the stream would make a shared pipe non-blocking for the command. */
export class Notes {
  readonly #quiet: boolean;
  readonly #verbose: boolean;
  readonly #json: boolean;
  #held: string[] | undefined;

  constructor(options: { readonly quiet: boolean; readonly verbose: boolean; readonly json: boolean }) {
    this.#quiet = options.quiet;
    this.#verbose = options.verbose;
    this.#json = options.json;
  }

  /** Keeps lines back while the command draws on the terminal. */
  hold(): void {
    this.#held ??= [];
  }

  /** Prints what was kept back. */
  release(): void {
    const held = this.#held ?? [];
    this.#held = undefined;
    for (const line of held) writeLine(line);
  }

  /** Something that the user should know; silent with --quiet. */
  say(text: string, facts: Readonly<Record<string, unknown>> = {}): void {
    if (!this.#quiet) this.#put(text, facts);
  }

  /** Something that explains why the run ended: never silent. */
  important(text: string, facts: Readonly<Record<string, unknown>> = {}): void {
    this.#put(text, facts);
  }

  detail(text: string, facts: Readonly<Record<string, unknown>> = {}): void {
    if (this.#verbose) this.#put(text, facts);
  }

  #put(text: string, facts: Readonly<Record<string, unknown>>): void {
    const line = this.#json
      ? JSON.stringify({ message: text, ...facts })
      : `glovebox: ${printableLines(text)}`;
    if (this.#held === undefined) writeLine(line);
    else if (this.#held.length < HELD_LINES) this.#held.push(line);
  }
}

/** Our own line breaks stay; callers make names printable before they put them between. */
const printableLines = (text: string): string => text.split('\n').map(printablePath).join('\n');

/** A hostile command could cause any number of lines. */
const HELD_LINES = 1000;

/** A terminal or pipe that is full or gone must not end the run. */
function writeLine(line: string): void {
  try {
    writeSync(2, `${line}\n`);
  } catch {
    return;
  }
}

/** Says once for each host what refused it: of a host whose requests are read, every rule is news. */
export class RefusalNotes {
  readonly #notes: Notes;
  readonly #seen = new Set<string>();
  #unasked: string | undefined;

  /** `unasked`: why nobody can be asked about unknown hosts although the policy wants it; said with the first that is refused. */
  constructor(notes: Notes, unasked?: string) {
    this.#notes = notes;
    this.#unasked = unasked;
  }

  event(event: NetworkEvent): void {
    const target = event.port === 0 ? event.host : `${event.host}:${event.port}`;
    if (event.action === 'allow') {
      this.#notes.detail(`allowed ${target} (${event.rule})`, { event });
      return;
    }
    const key = `${event.host} ${event.rule}`;
    if (this.#seen.has(key) || this.#seen.size >= HELD_LINES) return;
    this.#seen.add(key);
    if (this.#unasked !== undefined && event.rule === 'default.deny') {
      this.#notes.say(`network.ask: nobody can be asked, ${this.#unasked}`);
      this.#unasked = undefined;
    }
    const remedy = event.remedy === undefined ? '' : ` To allow it: ${event.remedy}`;
    const source = event.source === undefined ? '' : ` at ${event.source}`;
    this.#notes.say(`refused ${target}: ${event.reason} (${event.rule}${source}).${remedy}`, { event });
  }
}
