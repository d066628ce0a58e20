import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import { appendRecords, diskProblem, type TailMemory } from './append.ts';
import type { AuditEvent, AuditSink } from './contract.ts';
import { auditDir } from './files.ts';
import { Fold, foldKey } from './fold.ts';
import { acquireLock } from './lock.ts';
import { EMPTY_HEAD, pendingRecord, type Head, type PendingRecord } from './record.ts';

export interface AuditOptions {
  /** `$XDG_STATE_HOME/glovebox`; the log lies in `audit/` below it. */
  readonly stateDir: string;
  /** Rotate beyond this; CAPS.auditFileBytes when absent. */
  readonly maxFileBytes?: number;
  /** Wait this long for other writers; CAPS.auditLockMs when absent. */
  readonly lockMs?: number;
}

/** The writing end of the audit log. Any number of processes may write to the same one. */
export interface AuditWriter extends AuditSink, AsyncDisposable {
  /** Head of the chain after the last append of this writer. */
  head(): Head;
  /** Writes what is queued and refuses what comes later; throws like `flush`. */
  close(): Promise<void>;
}

/** Opens the log; nothing is touched before the first event. */
export function openAudit(options: AuditOptions): AuditWriter {
  return new Writer(options);
}

interface Queued {
  readonly record: PendingRecord;
  /** It waits for nothing. */
  readonly urgent: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Records in one write; a flood is written in several, so that other writers get their turn. */
const BATCH_RECORDS = 1000;
/** Records that may wait are gathered for this long: one lock for all of them. */
const GATHER_MS = 20;
/** When this many wait, the log does not keep up: what a sandbox causes is then counted instead of listed. */
const QUEUED_RECORDS = 10_000;

interface OpenFold {
  readonly fold: Fold;
  readonly written: Promise<void>;
}

class Writer implements AuditWriter {
  readonly #options: AuditOptions;
  readonly #memory: TailMemory = { inode: 0, size: 0, head: EMPTY_HEAD };
  #queue: Queued[] = [];
  readonly #folds = new Map<string, OpenFold>();
  #draining: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failure: unknown;
  #closed = false;

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  write(event: AuditEvent, when: 'now' | 'soon' = 'now'): Promise<void> {
    if (this.#closed) return Promise.reject(unwritable('the audit log is closed', undefined));
    return this.#folded(event) ?? this.#push(pendingRecord(event), when === 'now');
  }

  #push(record: PendingRecord, urgent: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ record, urgent, resolve, reject });
      if (urgent || this.#queue.length >= BATCH_RECORDS) void this.#start();
      else this.#gather();
    });
  }

  /** Counts the event in a record that stands for many; undefined while there is room for its own. */
  #folded(event: AuditEvent): Promise<void> | undefined {
    const key = this.#queue.length < QUEUED_RECORDS ? undefined : foldKey(event);
    if (key === undefined) return undefined;
    const known = this.#folds.get(key);
    const fold = known?.fold ?? new Fold(event);
    fold.add(event);
    const written = known?.written ?? this.#push(fold, false);
    this.#folds.set(key, { fold, written });
    return written;
  }

  async flush(): Promise<void> {
    while (this.#queue.length > 0 || this.#draining !== undefined) await this.#start();
    if (this.#failure !== undefined) throw this.#failure;
  }

  head(): Head {
    return this.#memory.head;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Everything queued is written now. */
  #start(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return (this.#draining ??= this.#drain());
  }

  #gather(): void {
    if (this.#draining === undefined) this.#timer ??= setTimeout(() => void this.#start(), GATHER_MS);
  }

  async #drain(): Promise<void> {
    // One turn of the microtask queue: events of the same tick share a write.
    await Promise.resolve();
    do {
      const batch = await this.#append();
      for (const record of batch.records) {
        if (batch.error === undefined) record.resolve();
        else record.reject(batch.error);
      }
    } while (this.#queue.length >= BATCH_RECORDS || this.#queue.some(({ urgent }) => urgent));
    this.#draining = undefined;
    if (this.#queue.length > 0) this.#gather();
  }

  /** Takes the lock, then everything queued by then. */
  async #append(): Promise<{ readonly records: readonly Queued[]; readonly error?: unknown }> {
    let records: readonly Queued[] = [];
    try {
      const dir = ensurePrivateDir(auditDir(this.#options.stateDir));
      const lock = await acquireLock(dir, this.#options.lockMs ?? CAPS.auditLockMs);
      records = this.#take();
      try {
        const maxFileBytes = this.#options.maxFileBytes ?? CAPS.auditFileBytes;
        const pending = records.map(({ record }) => record);
        appendRecords({ dir, pending, memory: this.#memory, maxFileBytes });
      } finally {
        lock.release();
      }
      return { records };
    } catch (error) {
      const failure = unwritable('cannot write the audit log', error);
      this.#failure ??= failure;
      this.#memory.inode = 0;
      return { records: records.length > 0 ? records : this.#take(), error: failure };
    }
  }

  #take(): readonly Queued[] {
    const batch = this.#queue.slice(0, BATCH_RECORDS);
    this.#queue = this.#queue.slice(BATCH_RECORDS);
    // Those on their way out count no further.
    this.#folds.clear();
    return batch;
  }
}

function unwritable(what: string, error: unknown): GloveboxError {
  if (error instanceof GloveboxError && error.code === 'E_AUDIT_UNWRITABLE') return error;
  const why = error instanceof GloveboxError ? error.message : diskProblem(error);
  return new GloveboxError(
    'E_AUDIT_UNWRITABLE',
    error === undefined ? { what } : { what, why, cause: error },
  );
}
