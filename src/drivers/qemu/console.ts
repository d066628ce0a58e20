import type { Readable } from 'node:stream';

/** What a person reads of a kernel's last words. */
const TAIL_BYTES = 8 * 1024;

/** What an error message shows of it. */
const SHOWN_CHARS = 2000;

/** Begins a kernel's account of its own end (kernel/panic.c); what follows are registers and addresses. */
const PANIC = 'Kernel panic - not syncing';

/** The end of what a machine's console and QEMU said. A guest that floods it costs reading, and no memory. */
export class ConsoleTail {
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(...sources: readonly (Readable | null)[]) {
    for (const source of sources) {
      source?.on('data', (chunk: Buffer) => this.#add(chunk));
      source?.on('error', () => undefined);
    }
  }

  /** Something that we know better than the machine. */
  note(text: string): void {
    this.#add(Buffer.from(`\n${text}\n`));
  }

  /** Printable text, at most `TAIL_BYTES`. */
  text(): string {
    const bytes = Buffer.concat(this.#chunks).subarray(-TAIL_BYTES);
    return (
      bytes
        .toString('utf8')
        .replaceAll('\r\n', '\n')
        // The guest's words end on somebody's terminal.
        // oxlint-disable-next-line no-control-regex
        .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '')
        .trim()
    );
  }

  /** For an error message: from where a panic begins, else the end. */
  lastWords(): string {
    const text = this.text();
    const panic = text.indexOf(PANIC);
    return panic < 0 ? text.slice(-SHOWN_CHARS) : text.slice(panic, panic + SHOWN_CHARS);
  }

  #add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length - (this.#chunks[0]?.length ?? 0) >= TAIL_BYTES) {
      this.#length -= this.#chunks.shift()?.length ?? 0;
    }
  }
}
