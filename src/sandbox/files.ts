import { Readable } from 'node:stream';
import type { AgentFileAccess, FileEntry, FileWatch, WatchEvent } from '../agent/files-contract.ts';
import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { insidePath } from './inside.ts';
import { OwnerNames } from './owner-names.ts';

/** What a name inside is. Field names are E2B's. */
export interface EntryInfo {
  readonly name: string;
  readonly path: string;
  /** A symbolic link is what it leads to; `other` is a pipe, socket or device, or a link that leads nowhere. */
  readonly type: 'file' | 'dir' | 'other';
  /** Bytes. */
  readonly size: number;
  /** Permission bits. */
  readonly mode: number;
  /** As `ls -l` writes them: `-rw-r--r--`. */
  readonly permissions: string;
  /** Names of the sandbox's own users; the number where there is none. */
  readonly owner: string;
  readonly group: string;
  readonly modifiedTime: Date;
  /** The text of a symbolic link. */
  readonly symlinkTarget?: string;
}

/** Content to write. */
export type WriteData =
  | string
  | Uint8Array
  | ArrayBuffer
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array>;

export interface FileOptions {
  readonly signal?: AbortSignal;
}

export interface FileReadOptions extends FileOptions {
  /** Default `text`: UTF-8. A `stream` is not limited in size; the others are, see `maxBytes`. */
  readonly format?: 'text' | 'bytes' | 'stream';
  /** Default 256 MiB. */
  readonly maxBytes?: number;
}

export interface FileWriteOptions extends FileOptions {
  /** Permission bits; default what the file has, or 0o666 less the umask. */
  readonly mode?: number;
  /** The file holds the old content or the new, never a part. Default false: it is written in place. */
  readonly atomic?: boolean;
}

/** One of many files to write. */
export interface WriteEntry {
  readonly path: string;
  readonly data: WriteData;
}

/** What happened below a watched directory. */
export interface FilesystemEvent {
  /** Below the watched directory; empty for `overflow`. */
  readonly name: string;
  /** `overflow`: events were lost, or there are more directories than can be watched; look for yourself. */
  readonly type: 'create' | 'write' | 'remove' | 'rename' | 'chmod' | 'overflow';
  /** Of a rename: the new name. A `create` with it follows. */
  readonly to?: string;
}

export interface WatchDirOptions extends FileOptions {
  readonly recursive?: boolean;
  /** Ends the watch by itself, in milliseconds; 0 for never. Default 0. */
  readonly timeoutMs?: number;
  /** The watch is over: with the error when it was lost, without when the directory is gone or it was stopped. */
  readonly onExit?: (error?: Error) => void;
}

export interface WatchHandle extends AsyncDisposable {
  stop(): Promise<void>;
}

/** How the agent's file work is reached, and where relative paths begin. */
export interface FilesContext {
  readonly access: AgentFileAccess;
  /** Absolute, inside. */
  readonly cwd: string;
  /** Throws when the sandbox has ended. */
  readonly check: () => void;
}

/** Deep enough for any tree; the agent's own bound. */
const DEPTH_MAX = 64;

/**
 * Files of a sandbox, worked on inside it with the rights of its commands: what the policy hides or protects is refused here as
 * there. Relative paths begin at the workspace. Every method takes an `AbortSignal` and throws `E_FILE_NOT_FOUND` and its like.
 */
export class SandboxFiles {
  readonly #context: FilesContext;
  readonly #names: OwnerNames;

  constructor(context: FilesContext) {
    this.#context = context;
    this.#names = new OwnerNames(context.access);
  }

  read(path: string, options?: FileReadOptions & { readonly format?: 'text' }): Promise<string>;
  read(path: string, options: FileReadOptions & { readonly format: 'bytes' }): Promise<Uint8Array>;
  read(
    path: string,
    options: FileReadOptions & { readonly format: 'stream' },
  ): Promise<ReadableStream<Uint8Array>>;
  async read(
    path: string,
    options: FileReadOptions = {},
  ): Promise<string | Uint8Array | ReadableStream<Uint8Array>> {
    const { signal, maxBytes, format = 'text' } = options;
    const access = this.#access();
    if (format === 'stream') return webStream(access.read(this.#at(path), { signal }));
    const size = maxBytes === undefined ? {} : { maxBytes };
    const content = await access.readAll(this.#at(path), { signal, ...size });
    return format === 'bytes' ? new Uint8Array(content) : content.toString('utf8');
  }

  /** Writes a file, or several one after another; directories above are made where they are missing. */
  write(path: string, data: WriteData, options?: FileWriteOptions): Promise<EntryInfo>;
  write(files: readonly WriteEntry[], options?: FileWriteOptions): Promise<EntryInfo[]>;
  async write(
    target: string | readonly WriteEntry[],
    second?: WriteData | FileWriteOptions,
    third: FileWriteOptions = {},
  ): Promise<EntryInfo | EntryInfo[]> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- The overloads say which second argument goes with which first.
    if (typeof target === 'string') return this.#write({ path: target, data: second as WriteData }, third);
    const written: EntryInfo[] = [];
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- See above.
    const options = (second ?? {}) as FileWriteOptions;
    for (const entry of target) written.push(await this.#write(entry, options));
    return written;
  }

  /**
   * What is in a directory, sorted by path. `depth` 1, the default, is the directory itself.
   *
   * @throws E_LIMIT_EXCEEDED for more than 200,000 entries: nothing is left out quietly
   */
  async list(path: string, options: FileOptions & { readonly depth?: number } = {}): Promise<EntryInfo[]> {
    const { depth = 1, signal } = options;
    if (!Number.isInteger(depth) || depth < 1)
      throw new GloveboxError('E_USAGE', { what: `${depth} is not a depth: it begins at 1` });
    const at = this.#at(path);
    const listing = await this.#access().list(at, { depth: Math.min(depth, DEPTH_MAX), signal });
    if (listing.truncated)
      throw new GloveboxError('E_LIMIT_EXCEEDED', {
        what: `${path} has more than ${listing.entries.length} entries`,
        next: 'List its directories one by one.',
      });
    await this.#names.load(signal);
    return listing.entries.map((entry) => this.#info(entry));
  }

  async exists(path: string, options: FileOptions = {}): Promise<boolean> {
    return this.#access().exists(this.#at(path), options);
  }

  async getInfo(path: string, options: FileOptions = {}): Promise<EntryInfo> {
    return this.#named(await this.#access().stat(this.#at(path), options), options.signal);
  }

  /** Makes a directory and what is missing above it; false when it was there already. */
  async makeDir(path: string, options: FileOptions = {}): Promise<boolean> {
    return this.#access().mkdir(this.#at(path), { ...options, recursive: true });
  }

  /** Takes the place of what is there, as rename(2) does. */
  async rename(oldPath: string, newPath: string, options: FileOptions = {}): Promise<EntryInfo> {
    const from = this.#at(oldPath);
    const entry = await this.#access().rename(from, this.#at(newPath), { ...options, parents: true });
    return this.#named(entry, options.signal);
  }

  /** Removes a file, or a directory with everything in it. */
  async remove(path: string, options: FileOptions = {}): Promise<void> {
    await this.#access().remove(this.#at(path), { ...options, recursive: true });
  }

  /** Resolves when the watch is in force. Events come in order; a callback that throws ends the watch with that error. */
  async watchDir(
    path: string,
    onEvent: (event: FilesystemEvent) => void | Promise<void>,
    options: WatchDirOptions = {},
  ): Promise<WatchHandle> {
    const { recursive = false, timeoutMs = 0, signal, onExit } = options;
    const watch = await this.#access().watch(this.#at(path), { recursive, signal });
    const timer = timeoutMs > 0 ? setTimeout(() => void watch.stop(), timeoutMs) : undefined;
    timer?.unref();
    const over = deliver(watch, onEvent)
      .then((error) => onExit?.(error))
      .finally(() => clearTimeout(timer));
    over.catch(() => undefined);
    const stop = (): Promise<void> => watch.stop().then(() => over);
    return { stop, [Symbol.asyncDispose]: stop };
  }

  async #write({ path, data }: WriteEntry, options: FileWriteOptions): Promise<EntryInfo> {
    const { mode, atomic, signal } = options;
    const content = data instanceof Blob ? data.stream() : data;
    if (!isContent(content))
      throw new GloveboxError('E_USAGE', {
        what: `what is written is of type ${typeof data}`,
        next: 'Give text, bytes, a Blob or a stream of bytes.',
      });
    const entry = await this.#access().write(
      this.#at(path),
      content instanceof ArrayBuffer ? new Uint8Array(content) : content,
      {
        parents: true,
        signal,
        ...(mode === undefined ? {} : { mode }),
        ...(atomic === undefined ? {} : { atomic }),
      },
    );
    return this.#named(entry, signal);
  }

  #access(): AgentFileAccess {
    this.#context.check();
    return this.#context.access;
  }

  /** Text alone: the host never asks its own file system about a path of a sandbox. */
  #at(path: string): string {
    return insidePath(path, this.#context.cwd, 'E_FILE_NAME');
  }

  async #named(entry: FileEntry, signal: AbortSignal | undefined): Promise<EntryInfo> {
    await this.#names.load(signal);
    return this.#info(entry);
  }

  #info(entry: FileEntry): EntryInfo {
    const type = entry.type === 'symlink' ? entry.leadsTo : entry.type;
    return {
      name: entry.name,
      path: entry.path,
      type: type === 'file' || type === 'dir' ? type : 'other',
      size: entry.size,
      mode: entry.mode,
      permissions: permissionsOf(entry),
      owner: this.#names.user(entry.uid),
      group: this.#names.group(entry.gid),
      modifiedTime: new Date(entry.mtimeMs),
      ...(entry.target === undefined ? {} : { symlinkTarget: entry.target }),
    };
  }
}

/** Callers without types pass anything. */
function isContent(data: unknown): boolean {
  if (typeof data === 'string') return true;
  if (typeof data !== 'object' || data === null) return false;
  return data instanceof Uint8Array || data instanceof ArrayBuffer || Symbol.asyncIterator in data;
}

const TYPE_LETTER = {
  file: '-',
  dir: 'd',
  symlink: 'l',
  fifo: 'p',
  socket: 's',
  char: 'c',
  block: 'b',
} as const;

function permissionsOf({ type, mode }: FileEntry): string {
  const bits = Array.from('rwxrwxrwx', (letter, i) => ((mode >> (8 - i)) & 1 ? letter : '-'));
  const special = (at: number, bit: number, letter: string): void => {
    if ((mode & bit) !== 0) bits[at] = bits[at] === 'x' ? letter : letter.toUpperCase();
  };
  special(2, 0o4000, 's');
  special(5, 0o2000, 's');
  special(8, 0o1000, 't');
  return TYPE_LETTER[type] + bits.join('');
}

/** Answers what ended it, or undefined for an orderly end. */
async function deliver(
  watch: FileWatch,
  onEvent: (event: FilesystemEvent) => void | Promise<void>,
): Promise<Error | undefined> {
  try {
    for await (const event of watch) for (const one of eventsOf(event)) await onEvent(one);
    return undefined;
  } catch (error) {
    await watch.stop();
    if (isGloveboxError(error) || error instanceof Error) return error;
    return new GloveboxError('E_IO', { what: 'the callback of a watch failed', cause: error });
  }
}

function eventsOf(event: WatchEvent): readonly FilesystemEvent[] {
  if (event.type === 'overflow') return [{ name: '', type: 'overflow' }];
  if (event.type !== 'rename') return [{ name: event.path, type: event.type }];
  return [
    { name: event.path, type: 'rename', to: event.to },
    { name: event.to, type: 'create' },
  ];
}

function webStream(readable: Readable): ReadableStream<Uint8Array> {
  return Readable.toWeb(readable);
}
