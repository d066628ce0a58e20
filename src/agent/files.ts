import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { pathFromBytes, pathToBytes } from '../base/path-bytes.ts';
import type { PathBytes } from './contract.ts';
import { fileError, shownPath } from './file-errors.ts';
import type {
  Abortable,
  AgentFileAccess,
  FileData,
  FileEntry,
  FileWatch,
  Listing,
  ListOptions,
  MakeDirOptions,
  ReadOptions,
  RenameOptions,
  WatchOptions,
  WriteOptions,
} from './files-contract.ts';
import { protocolError } from './frames.ts';
import { FRAME, RECORD_TAG } from './numbers.ts';
import { recordsOf } from './records-of.ts';
import { listedEntry, namedEntry, type WorkResult } from './records.ts';
import { Slots } from './slots.ts';
import { openWatch } from './watch.ts';
import { encodeWork, type WorkOrder, type WorkSpec, type WorkStream } from './work.ts';

export type StartWork = (order: WorkOrder) => WorkStream;

const textOf = (path: PathBytes): string => (typeof path === 'string' ? path : pathFromBytes(path));

/** File work of one session. */
export class AgentFiles implements AgentFileAccess {
  readonly #start: StartWork;
  readonly #slots = new Slots(CAPS.fileOperations);

  constructor(start: StartWork) {
    this.#start = start;
  }

  async stat(path: PathBytes, options: Abortable & { readonly follow?: boolean } = {}): Promise<FileEntry> {
    const spec: WorkSpec = { op: 'stat', path, flags: [options.follow === true && 'follow'] };
    return entryOf(await this.#short('stat', path, spec, options), path);
  }

  async exists(path: PathBytes, options: Abortable = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      if (
        isGloveboxError(error) &&
        (error.code === 'E_FILE_NOT_FOUND' || error.code === 'E_FILE_NOT_DIRECTORY')
      )
        return false;
      throw error;
    }
  }

  async list(path: PathBytes, options: ListOptions = {}): Promise<Listing> {
    return this.#slots.run(`listing ${shownPath(path)}`, options.signal, async () => {
      const entries: FileEntry[] = [];
      const walk = this.#walk(path, options, CAPS.answerBytes);
      let step = await walk.next();
      for (; step.done !== true; step = await walk.next()) entries.push(step.value);
      const { truncated, unreadable } = step.value;
      return { entries: sorted(entries), truncated, unreadable };
    });
  }

  async *entries(path: PathBytes, options: ListOptions = {}): AsyncGenerator<FileEntry, void, undefined> {
    const result = yield* this.#walk(path, options);
    if (result.truncated)
      throw new GloveboxError('E_LIMIT_EXCEEDED', {
        what: `${shownPath(path)} has more than ${options.maxEntries ?? CAPS.fileEntries} entries`,
      });
  }

  read(path: PathBytes, options: ReadOptions = {}): Readable {
    return this.#read(path, options).output;
  }

  async readAll(
    path: PathBytes,
    options: ReadOptions & { readonly maxBytes?: number } = {},
  ): Promise<Buffer> {
    const max = options.maxBytes ?? CAPS.fileReadBytes;
    return this.#slots.run(`reading ${shownPath(path)}`, options.signal, async () => {
      // One byte more than wanted tells a file that is too large from one that just fits.
      const work = this.#read(path, { ...options, length: Math.min(options.length ?? max + 1, max + 1) });
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of work.output) {
        const data: Buffer = Buffer.from(chunk);
        bytes += data.length;
        if (bytes > max) throw tooLarge(path, max);
        chunks.push(data);
      }
      await work.done;
      return Buffer.concat(chunks, bytes);
    });
  }

  async write(path: PathBytes, data: FileData, options: WriteOptions = {}): Promise<FileEntry> {
    const { how = 'truncate', atomic = false, parents = false, mode, offset, signal } = options;
    if (atomic && how !== 'truncate')
      throw new GloveboxError('E_USAGE', {
        what: `an atomic write replaces the whole file: it cannot ${how}`,
      });
    const flags = [atomic && 'atomic', parents && 'parents'] as const;
    const order = this.#order('write', path, { op: 'write', path, how, mode, offset, flags }, signal);
    const run = async (): Promise<FileEntry> => {
      const work = this.#start(order);
      await feed(work, data);
      return entryOf(await work.done, path);
    };
    // Content that takes its time must not keep others from their turn.
    if (typeof data !== 'string' && !(data instanceof Uint8Array)) return run();
    return this.#slots.run(order.title, signal, run);
  }

  async mkdir(path: PathBytes, options: MakeDirOptions = {}): Promise<boolean> {
    const flags = [options.recursive === true && 'parents'] as const;
    const result = await this.#short(
      'mkdir',
      path,
      { op: 'mkdir', path, mode: options.mode, flags },
      options,
    );
    return result.created;
  }

  async rename(from: PathBytes, to: PathBytes, options: RenameOptions = {}): Promise<FileEntry> {
    const flags = [options.noReplace === true && 'noReplace', options.parents === true && 'parents'] as const;
    const spec: WorkSpec = { op: 'rename', path: from, target: to, flags };
    return entryOf(await this.#short('rename', from, spec, options), to);
  }

  async remove(path: PathBytes, options: Abortable & { readonly recursive?: boolean } = {}): Promise<number> {
    const flags = [options.recursive === true && 'recursive'] as const;
    return (await this.#short('remove', path, { op: 'remove', path, flags }, options)).count;
  }

  async chmod(path: PathBytes, mode: number, options: Abortable = {}): Promise<FileEntry> {
    return entryOf(await this.#short('chmod', path, { op: 'chmod', path, mode }, options), path);
  }

  async symlink(target: PathBytes, path: PathBytes, options: Abortable = {}): Promise<FileEntry> {
    return entryOf(await this.#short('symlink', path, { op: 'symlink', path, target }, options), path);
  }

  async readlink(path: PathBytes, options: Abortable = {}): Promise<string> {
    const entry = await this.stat(path, options);
    if (entry.target !== undefined) return entry.target;
    throw new GloveboxError('E_FILE_UNSUPPORTED', {
      what: `${shownPath(path)} is not a symbolic link`,
      next: 'Ask `stat` for what it is.',
    });
  }

  async watch(path: PathBytes, options: WatchOptions = {}): Promise<FileWatch> {
    const flags = [options.recursive === true && 'recursive'] as const;
    const payload = encodeWork({ path, flags, max: options.maxDirectories ?? CAPS.fileWatches });
    const title = `watching ${shownPath(path)}`;
    const error = (result: WorkResult): GloveboxError => fileError('watch', path, result);
    return openWatch(this.#start({ type: FRAME.watch, payload, title, error, signal: options.signal }));
  }

  #read(path: PathBytes, options: ReadOptions): WorkStream {
    const { offset, length, signal } = options;
    return this.#start(this.#order('read', path, { op: 'read', path, offset, length }, signal));
  }

  async *#walk(
    path: PathBytes,
    options: ListOptions,
    mostBytes?: number,
  ): AsyncGenerator<FileEntry, WorkResult, undefined> {
    const max = options.maxEntries ?? CAPS.fileEntries;
    const spec: WorkSpec = { op: 'list', path, depth: options.depth ?? 1, max };
    const work = this.#start(this.#order('list', path, spec, options.signal));
    const directory = textOf(path);
    const records = recordsOf(work, mostBytes);
    let count = 0;
    try {
      for (;;) {
        const step = await records.next();
        if (step.done === true) return step.value;
        count += 1;
        if (step.value.tag !== RECORD_TAG.entry || count > max) throw protocolError('a listing that is none');
        yield listedEntry(step.value.value, directory);
      }
    } finally {
      work.abandon();
    }
  }

  #order(verb: string, path: PathBytes, spec: WorkSpec, signal: AbortSignal | undefined): WorkOrder {
    return {
      type: FRAME.file,
      payload: encodeWork(spec),
      title: `to ${verb} ${shownPath(path)}`,
      error: (result) => fileError(verb, path, result),
      signal,
    };
  }

  /** An operation that answers with its result alone. */
  async #short(verb: string, path: PathBytes, spec: WorkSpec, options: Abortable): Promise<WorkResult> {
    const order = this.#order(verb, path, spec, options.signal);
    return this.#slots.run(order.title, options.signal, () => this.#start(order).done);
  }
}

function entryOf(result: WorkResult, path: PathBytes): FileEntry {
  // It may be gone again; then there is nothing true to say about it.
  if (result.entry !== undefined) return namedEntry(result.entry, textOf(path));
  throw new GloveboxError('E_FILE_NOT_FOUND', {
    what: `${shownPath(path)} was removed inside the sandbox right after the operation`,
  });
}

function tooLarge(path: PathBytes, max: number): GloveboxError {
  return new GloveboxError('E_FILE_TOO_LARGE', {
    what: `${shownPath(path)} has more than ${max} bytes`,
    context: { path: shownPath(path), maxBytes: max },
  });
}

/** Sends the content. A failure inside is told by `work.done`; one of the content itself gives up the work and is thrown. */
async function feed(work: WorkStream, data: FileData): Promise<void> {
  if (typeof data === 'string' || data instanceof Uint8Array) {
    work.input.end(data);
    return;
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- A web stream is iterable in Node; the library type does not say so.
  const source = Readable.from(data as AsyncIterable<Uint8Array>, { objectMode: false });
  let broken: unknown;
  source.once('error', (error) => (broken = error));
  try {
    await pipeline(source, work.input);
  } catch {
    if (broken === undefined) return;
    work.abandon();
    throw broken;
  }
}

/** By the bytes of their paths, so that the order does not depend on a locale. */
function sorted(entries: readonly FileEntry[]): FileEntry[] {
  const keyed = entries.map((entry) => ({ entry, key: pathToBytes(entry.path) }));
  return keyed.toSorted((a, b) => Buffer.compare(a.key, b.key)).map(({ entry }) => entry);
}
