import type { FileWatch, WatchEvent } from './files-contract.ts';
import { recordsOf } from './records-of.ts';
import { protocolError } from './frames.ts';
import { RECORD_TAG } from './numbers.ts';
import { readEvent, readOverflow, type WorkRecord, type WorkResult } from './records.ts';
import type { WorkStream } from './work.ts';

/** The first look says at most that there are too many directories. */
const EARLY_MAX = 16;

/** Resolves when the agent says that the watch is in force. */
export async function openWatch(work: WorkStream): Promise<FileWatch> {
  const records = recordsOf(work);
  // Events of the first look, such as too many directories, come before.
  const early: WatchEvent[] = [];
  for (;;) {
    const step = await records.next();
    if (step.done === true) throw protocolError('a watch that ended before it began');
    if (step.value.tag === RECORD_TAG.watching) return new Watch(work, records, early);
    if (early.length >= EARLY_MAX) throw protocolError('a watch that never begins');
    early.push(eventOf(step.value));
  }
}

function eventOf(record: WorkRecord): WatchEvent {
  if (record.tag === RECORD_TAG.event) return readEvent(record.value);
  if (record.tag === RECORD_TAG.overflow) return readOverflow(record.value);
  throw protocolError(`record ${record.tag} in a watch`);
}

/** Events wait inside the sandbox until they are asked for, in a queue that says when it overflowed. */
class Watch implements FileWatch {
  readonly #work: WorkStream;
  readonly #records: AsyncGenerator<WorkRecord, WorkResult, undefined>;
  #early: readonly WatchEvent[];
  #stopped = false;

  constructor(
    work: WorkStream,
    records: AsyncGenerator<WorkRecord, WorkResult, undefined>,
    early: readonly WatchEvent[],
  ) {
    this.#work = work;
    this.#records = records;
    this.#early = early;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WatchEvent, void, undefined> {
    const early = this.#early;
    this.#early = [];
    yield* early;
    try {
      for await (const record of this.#records) yield eventOf(record);
    } catch (error) {
      if (!this.#stopped) throw error;
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#work.abandon();
    await this.#work.done.catch(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
