import type { AskAnswer } from '../../gateway/contract.ts';

/** What the keys so far came to; undefined: nothing yet. */
export type Typed = AskAnswer | 'stop' | 'unknown' | undefined;

/** Milliseconds without input after which input counts again, once it held what no plain key sends. */
const QUIET_MS = 200;
/** The longest word is "sandbox". */
const MAX_CHARS = 16;
const WORDS: Readonly<Record<string, AskAnswer>> = {
  '': 'deny',
  deny: 'deny',
  once: 'once',
  sandbox: 'sandbox',
};

/**
 * The line that is typed as an answer. A whole word and Enter: the rest of a line that was meant for the command is none. Terminals
 * also type by themselves, when a program asks them for their state or title (xterm's ctlseqs): such input begins with an
 * escape, and all of it is thrown away until the terminal is quiet.
 */
export class AnswerLine {
  #text = '';
  #deafUntil = 0;

  /** What has been typed: printable ASCII. */
  get text(): string {
    return this.#text;
  }

  /** Takes what one read brought; `nowMs` only ever grows. */
  take(keys: Uint8Array, nowMs: number): Typed {
    if (nowMs < this.#deafUntil || keys.some(isReport)) {
      this.#text = '';
      this.#deafUntil = nowMs + QUIET_MS;
      return undefined;
    }
    for (const key of keys) {
      const typed = this.#key(key);
      if (typed !== undefined) return typed;
    }
    return undefined;
  }

  #key(key: number): Typed {
    if (key === KEY.ctrlC) return 'stop';
    if (key === KEY.ctrlD) return 'deny';
    if (key === KEY.enter || key === KEY.newline) {
      const word = this.#text.toLowerCase();
      this.#text = '';
      return Object.hasOwn(WORDS, word) ? WORDS[word] : 'unknown';
    }
    if (key === KEY.erase || key === KEY.backspace) this.#text = this.#text.slice(0, -1);
    else if (key === KEY.kill) this.#text = '';
    else if (this.#text.length < MAX_CHARS) this.#text += String.fromCharCode(key);
    return undefined;
  }
}

/** ASCII control characters by their use at a terminal (termios(3)). */
const KEY = { ctrlC: 3, ctrlD: 4, backspace: 8, newline: 10, enter: 13, kill: 21, erase: 127 } as const;
const PLAIN: ReadonlySet<number> = new Set(Object.values(KEY));

/** True for what no plain key sends: escapes, other control characters, bytes beyond ASCII. */
function isReport(byte: number): boolean {
  return (byte < 0x20 || byte >= 0x7f) && !PLAIN.has(byte);
}
