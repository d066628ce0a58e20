import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { GloveboxError } from '../base/errors.ts';
import { within } from '../base/within.ts';
import { protocolError } from './frames.ts';
import { TREE_ORDER } from './numbers.ts';
import { deferred } from './process.ts';
import { TreeDecoder, type TreeEvent } from './tree-stream.ts';

/** What a machine sends of its tree, taken part by part. */
export interface TreeSink {
  take(event: TreeEvent): void;
  /** After a stream: the machine left out something as known that is not known any more. */
  needsAll(): boolean;
}

/** For trees of which nothing comes back. */
export const discardTrees: TreeSink = { take: () => undefined, needsAll: () => false };

/** A machine that says nothing for so long while it has something to say, in ms. Emulated ones on a busy host are slow. */
const SILENT_MS = 30_000;

/** All that is left behind has come by then, in ms, however much is said meanwhile. */
const FINISH_MS = 300_000;

/** A machine that takes nothing for so long, in ms. */
const TAKE_MS = 60_000;

/** The port over which trees go into a machine, and one of them comes back: when that is asked for, and when its sandbox has ended. */
export class TreeLink {
  readonly #sink: TreeSink;
  readonly #decoder = new TreeDecoder();
  readonly #begun = deferred<void>();
  readonly #over = deferred<Error | undefined>();
  #port: Duplex | undefined;
  #isLast = false;
  /** All of it was ordered, because something of it was left out. */
  #again: 'no' | 'ordered' | 'coming' = 'no';
  #isOver = false;
  #heardAt = 0;
  #pull: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined;

  constructor(sink: TreeSink) {
    this.#sink = sink;
  }

  /** Resolves when the machine begins to send what its sandbox left behind. */
  get leaving(): Promise<void> {
    return this.#begun.promise;
  }

  /**
   * Sends the trees; resolves when they have left this process. What goes wrong inside the machine's own channel tells.
   *
   * @throws E_SANDBOX_START when it does not take them, and what reading them throws
   */
  async start(port: Duplex, trees: AsyncIterable<Buffer>): Promise<void> {
    this.#port = port;
    port.on('data', (chunk: Buffer) => this.#onData(chunk));
    port.on('error', () => undefined);
    port.once('close', () => this.#end(lost('the machine ended before it had sent everything')));
    for await (const bytes of trees) {
      if (port.destroyed) return;
      if (!port.write(bytes)) await inTime(Promise.race([once(port, 'drain'), this.#over.promise]));
    }
  }

  /** Has the tree sent as it is at this moment. @throws E_TIMEOUT, E_SANDBOX_CLOSED */
  async pull(): Promise<void> {
    if (this.#pull === undefined) {
      this.#pull = deferred<void>();
      this.#order(TREE_ORDER.give);
    }
    await this.#heard(Promise.race([this.#pull.promise, this.#notLost()]));
  }

  /** Ends the sandbox where it is alive, and waits for what it left behind. Answers what went wrong, when not all of it came. */
  async finish(isAlive: boolean): Promise<Error | undefined> {
    if (this.#port === undefined || this.#port.destroyed) this.#end(lost('the machine is gone'));
    else if (isAlive) this.#order(TREE_ORDER.end);
    try {
      const over = this.#heard(this.#over.promise);
      over.catch(() => undefined);
      if (!(await within(FINISH_MS, over))) throw lost(`there was no end to it for ${FINISH_MS / 1000} s`);
    } catch (error) {
      this.#end(error instanceof Error ? error : lost(String(error)));
    }
    return this.#over.promise;
  }

  /** @throws what ended it */
  async #notLost(): Promise<void> {
    const error = await this.#over.promise;
    if (error !== undefined) throw error;
  }

  #order(order: number): void {
    if (this.#port === undefined || this.#port.destroyed) this.#end(lost('the machine is gone'));
    else this.#port.write(Buffer.from([order]));
  }

  #onData(chunk: Buffer): void {
    if (this.#isOver) return;
    this.#heardAt = Date.now();
    try {
      for (const event of this.#decoder.push(chunk)) {
        if (event.kind === 'begin') this.#begin(event.last);
        this.#sink.take(event);
        if (event.kind === 'end') this.#ended();
      }
    } catch (error) {
      this.#end(error instanceof Error ? error : lost(String(error)));
    }
  }

  /** Only what was asked for, and once what the sandbox leaves behind. */
  #begin(last: boolean): void {
    // The sandbox may end, and say so, at any time: that is no answer to anything.
    const isFarewell = last && !this.#isLast;
    const isAll = this.#again === 'ordered' && !isFarewell;
    const isAsked = isAll || (!last && !this.#isLast && this.#pull !== undefined);
    if (!isFarewell && !isAsked) throw protocolError('a stream of copied files that nobody asked for');
    this.#again = isAll ? 'coming' : 'no';
    this.#isLast = last;
    if (last) this.#begun.resolve();
  }

  #ended(): void {
    if (this.#sink.needsAll()) return this.#orderAll();
    this.#again = 'no';
    this.#pull?.resolve();
    this.#pull = undefined;
    if (!this.#isLast) return;
    this.#order(TREE_ORDER.done);
    this.#end(undefined);
  }

  #orderAll(): void {
    if (this.#again === 'coming') throw protocolError('something is left out where all was asked for');
    this.#again = 'ordered';
    this.#order(TREE_ORDER.giveAll);
  }

  #end(error: Error | undefined): void {
    this.#isOver = true;
    this.#over.resolve(error);
    if (error !== undefined) this.#port?.destroy();
  }

  /** @throws E_TIMEOUT when nothing is heard any more */
  async #heard(work: Promise<unknown>): Promise<void> {
    this.#heardAt = Date.now();
    let timer: NodeJS.Timeout | undefined;
    const silent = new Promise<never>((_, reject) => {
      timer = setInterval(() => {
        if (Date.now() - this.#heardAt > SILENT_MS) reject(silentError());
      }, SILENT_MS / 10);
    });
    try {
      await Promise.race([work, silent]);
    } finally {
      clearInterval(timer);
    }
  }
}

async function inTime(work: Promise<unknown>): Promise<void> {
  if (await within(TAKE_MS, work)) return;
  const what = `the machine took nothing of what is copied into it for ${TAKE_MS / 1000} s`;
  throw new GloveboxError('E_SANDBOX_START', { what });
}

const lost = (why: string): GloveboxError =>
  new GloveboxError('E_SANDBOX_CLOSED', { what: 'the files of the machine did not come back', why });

const silentError = (): GloveboxError =>
  new GloveboxError('E_TIMEOUT', {
    what: 'the files of the machine did not come back',
    why: `nothing was heard of it for ${SILENT_MS / 1000} s`,
    next: 'Run the command again.',
  });
