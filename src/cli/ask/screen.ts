import { closeSync, constants, openSync } from 'node:fs';
import { ReadStream, WriteStream } from 'node:tty';
import { rawTerminal } from '../raw-terminal.ts';

/**
 * Takes the terminal out of whatever state the command's output left it in, so that plain text shows as plain text: cut-off control
 * strings, VT52 mode, printer mode, frozen updates, attributes, character sets, margins, colours, the keyboard protocol. CAN and ST end
 * what was begun; a terminal that does not know one of these ignores it. (ECMA-48; xterm's ctlseqs; kitty's keyboard protocol)
 */
const PLAIN_STATE = [
  '\u0018\u001b\\',
  '\u001b<\u001b%G',
  '\u001b[4i\u001b[?2026l',
  '\u001b[0m\u000f\u001b(B\u001b)B',
  '\u001b[?5l\u001b[?6l\u001b[4l\u001b[?7h\u001b[?69l\u001b[r\u001b[?25h',
  '\u001b]104\u001b\\\u001b]110\u001b\\\u001b]111\u001b\\',
  '\u001b[>0u',
].join('');
/** Gives the command its keyboard protocol back. */
const KEYBOARD_BACK = '\u001b[<u';
/** More rows than any terminal has. */
const BOTTOM = '\u001b[999;1H';
const MAX_ROWS = 500;

/**
 * The caller's own terminal while a question stands on it. It is opened by name, in this process: neither stdin nor anything
 * that the sandbox holds leads here.
 */
export class QuestionScreen implements Disposable {
  readonly #keys: ReadStream;
  readonly #out: WriteStream;
  readonly #restore: () => void;
  #over = false;

  /** @throws when the process has no controlling terminal */
  constructor(onKeys: (keys: Uint8Array) => void, onGone: () => void) {
    const input = openSync('/dev/tty', constants.O_RDONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
    this.#restore = restoring(input);
    this.#out = new WriteStream(openSync('/dev/tty', constants.O_WRONLY | constants.O_NOCTTY));
    this.#keys = new ReadStream(input);
    this.#out.on('error', onGone);
    this.#keys.on('error', onGone);
    this.#keys.on('end', onGone);
    this.#keys.on('data', onKeys);
  }

  /** Scrolls everything away and writes the lines alone on the screen: nothing the command drew stands beside them. */
  show(lines: readonly string[]): void {
    const rows = Math.min(this.#out.rows || 24, MAX_ROWS);
    this.#write(`${PLAIN_STATE}${BOTTOM}${'\r\n'.repeat(rows)}\u001b[H${lines.join('\r\n')}\r\n`);
  }

  /** Replaces the last line. */
  prompt(text: string): void {
    this.#write(`\r${text}\u001b[K`);
  }

  /** Says how it ended and gives the terminal back as it was. */
  leave(text: string): void {
    this.#write(`\r${text}\u001b[K\r\n${KEYBOARD_BACK}`);
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.#over) return;
    this.#over = true;
    this.#keys.destroy();
    this.#restore();
    this.#out.destroy();
  }

  #write(text: string): void {
    if (!this.#over) this.#out.write(text);
  }
}

/** Also restored when the process ends in another way. */
function restoring(terminal: number): () => void {
  try {
    const restore = rawTerminal(terminal);
    const once = (): void => {
      process.off('exit', once);
      restore();
    };
    process.once('exit', once);
    return once;
  } catch (error) {
    closeSync(terminal);
    throw error;
  }
}
