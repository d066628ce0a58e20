import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import type { AgentProcess } from './contract.ts';
import { onAbort } from './abort.ts';
import { abortedError } from './file-errors.ts';
import type { Abortable } from './files-contract.ts';
import { deferred } from './process.ts';

export type OutputChannel = 'stdout' | 'stderr';

/** A piece of kept output and where it stands in its channel, in bytes from the command's start. */
export interface KeptChunk {
  readonly channel: OutputChannel;
  readonly offset: number;
  readonly data: Buffer;
}

export interface KeepOptions {
  /** Bytes kept of each channel. Default `CAPS.keptOutputBytes`. */
  readonly bytes?: number;
  /**
   * What happens when that much is there that nobody has read. `wait` (default): nothing more is taken, so the command stops at
   * its next write until somebody reads. `drop-oldest`: the command goes on, and what is gone is said to whoever asks for it.
   */
  readonly overflow?: 'wait' | 'drop-oldest';
}

/** How far a reader is: the offset of the next byte of each channel. */
export interface OutputCursor {
  readonly stdout: number;
  readonly stderr: number;
}

/** Small pieces are gathered in blocks of this size, so that single bytes do not cost an object each. */
const BLOCK_BYTES = 16 * 1024;

interface Block {
  readonly bytes: Buffer;
  /** Bytes that were dropped at its front, and where its content ends. */
  from: number;
  to: number;
}

/** The last bytes of one channel. */
class Ring {
  readonly #limit: number;
  readonly #waits: boolean;
  readonly #blocks: Block[] = [];
  /** Offset of the first byte that is kept, of the byte after the last, and of the first that no reader got yet. */
  start = 0;
  end = 0;
  delivered = 0;
  over = false;

  constructor(limit: number, waits: boolean) {
    this.#limit = limit;
    this.#waits = waits;
  }

  /** False while there is no room and the command has to wait. */
  hasRoom(): boolean {
    return !this.#waits || this.end - this.delivered < this.#limit;
  }

  add(data: Buffer): void {
    this.#append(data);
    this.end += data.length;
    // Waiting output may pass the limit by one piece, but never loses what nobody has read.
    const wanted = Math.max(this.start, this.end - this.#limit);
    this.#dropUntil(this.#waits ? Math.min(wanted, Math.max(this.start, this.delivered)) : wanted);
  }

  /** The bytes from `offset` on that are kept in one piece; undefined at the end. Preconditions: `start <= offset <= end`. */
  from(offset: number): Buffer | undefined {
    let at = this.start;
    for (const { bytes, from, to } of this.#blocks) {
      if (offset < at + to - from) return bytes.subarray(from + offset - at, to);
      at += to - from;
    }
    return undefined;
  }

  #append(data: Buffer): void {
    const last = this.#blocks.at(-1);
    if (last !== undefined && last.bytes.length - last.to >= data.length) {
      data.copy(last.bytes, last.to);
      last.to += data.length;
      return;
    }
    const bytes = data.length < BLOCK_BYTES ? Buffer.alloc(BLOCK_BYTES) : data;
    if (bytes !== data) data.copy(bytes);
    this.#blocks.push({ bytes, from: 0, to: data.length });
  }

  #dropUntil(offset: number): void {
    for (let first = this.#blocks[0]; first !== undefined && this.start < offset; first = this.#blocks[0]) {
      const cut = Math.min(first.to - first.from, offset - this.start);
      this.start += cut;
      first.from += cut;
      if (first.from === first.to) this.#blocks.shift();
    }
  }
}

/**
 * Output of a command that outlives its readers: each begins where it likes, one that lost its connection goes on at
 * its cursor. It is kept on the host, at most `bytes` and one piece of a stream (256 KiB) of each channel.
 */
export class KeptOutput {
  readonly #rings: Readonly<Record<OutputChannel, Ring>>;
  /** Resolved and replaced at every change. */
  #changed = deferred<void>();
  #failure: GloveboxError | undefined;

  constructor(process: AgentProcess, options: KeepOptions = {}) {
    const { bytes = CAPS.keptOutputBytes, overflow = 'wait' } = options;
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw new GloveboxError('E_USAGE', { what: `${bytes} is not a number of bytes to keep` });
    const waits = overflow === 'wait';
    this.#rings = { stdout: new Ring(bytes, waits), stderr: new Ring(bytes, waits) };
    void this.#take(process.stdout, this.#rings.stdout);
    void this.#take(process.stderr, this.#rings.stderr);
    process.exit.catch((error: unknown) => {
      this.#failure =
        error instanceof GloveboxError
          ? error
          : new GloveboxError('E_SANDBOX_LOST', { what: 'the sandbox ended' });
      this.#tell();
    });
  }

  /** Where the kept output ends now: a reader from here gets what is new. */
  get end(): OutputCursor {
    return { stdout: this.#rings.stdout.end, stderr: this.#rings.stderr.end };
  }

  /** The first bytes that are still kept. */
  get start(): OutputCursor {
    return { stdout: this.#rings.stdout.start, stderr: this.#rings.stderr.start };
  }

  /**
   * Everything from a cursor on, default from the command's start, until both channels have ended. In each channel in order; between
   * them as it comes.
   *
   * @throws E_OUTPUT_GONE when bytes from the cursor on are not kept any more, also for a reader that was too slow for `drop-oldest`;
   * E_USAGE for a cursor beyond the end; E_ABORTED
   */
  async *read(
    from: Partial<OutputCursor> = {},
    options: Abortable = {},
  ): AsyncGenerator<KeptChunk, void, undefined> {
    const at = { stdout: from.stdout ?? 0, stderr: from.stderr ?? 0 };
    for (const channel of ['stdout', 'stderr'] as const) this.#check(channel, at[channel]);
    for (;;) {
      if (options.signal?.aborted === true)
        throw abortedError('reading the output of a command', options.signal);
      const changed = this.#changed.promise;
      let found = false;
      for (const channel of ['stdout', 'stderr'] as const) {
        const data = this.#next(channel, at[channel]);
        if (data === undefined) continue;
        found = true;
        yield { channel, offset: at[channel], data };
        at[channel] += data.length;
      }
      if (found) continue;
      if (this.#rings.stdout.over && this.#rings.stderr.over) {
        if (this.#failure !== undefined) throw this.#failure;
        return;
      }
      await orAborted(changed, options.signal);
    }
  }

  #next(channel: OutputChannel, offset: number): Buffer | undefined {
    const ring = this.#rings[channel];
    this.#check(channel, offset);
    const data = ring.from(offset);
    if (data !== undefined && offset + data.length > ring.delivered) {
      ring.delivered = offset + data.length;
      this.#tell();
    }
    return data;
  }

  #check(channel: OutputChannel, cursor: number): void {
    const { start, end } = this.#rings[channel];
    if (!Number.isSafeInteger(cursor) || cursor < 0 || cursor > end)
      throw new GloveboxError('E_USAGE', {
        what: `${cursor} is no place in the ${channel} of the command: it has ${end} bytes`,
      });
    if (cursor >= start) return;
    throw new GloveboxError('E_OUTPUT_GONE', {
      what: `the ${channel} of the command is kept from byte ${start} on, not from ${cursor}`,
      context: { channel, cursor, firstAvailable: start, end },
    });
  }

  async #take(source: AsyncIterable<Buffer>, ring: Ring): Promise<void> {
    try {
      for await (const chunk of source) {
        ring.add(chunk);
        this.#tell();
        while (!ring.hasRoom()) await this.#changed.promise;
      }
    } catch {
      // How the sandbox was lost, `exit` says.
    }
    ring.over = true;
    this.#tell();
  }

  #tell(): void {
    const { resolve } = this.#changed;
    this.#changed = deferred<void>();
    resolve();
  }
}

/** Resolves with `change`, or at once when the signal is aborted: the caller looks at it. */
function orAborted(change: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return change;
  return new Promise((resolve) => {
    const forget = onAbort(signal, resolve);
    void change.then(forget).then(resolve);
  });
}
