import type { Readable } from 'node:stream';
import type { PathBytes } from './contract.ts';

export type EntryType = 'file' | 'dir' | 'symlink' | 'fifo' | 'socket' | 'char' | 'block';

/** One name inside. Bytes of names that are not UTF-8 are written as in `base/path-bytes.ts`. */
export interface FileEntry {
  readonly name: string;
  /** As it was asked for, or the listed directory's with the name. */
  readonly path: string;
  readonly type: EntryType;
  /** Of a symbolic link: what it leads to, absent when nowhere that can be seen; and its text. */
  readonly leadsTo?: EntryType;
  readonly target?: string;
  /** Bytes. */
  readonly size: number;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Milliseconds since the epoch. */
  readonly mtimeMs: number;
}

export interface Abortable {
  /** Gives up; the call rejects with `E_ABORTED`. */
  readonly signal?: AbortSignal | undefined;
}

export interface ListOptions extends Abortable {
  /** 1, the default, is the directory itself; at most 64. */
  readonly depth?: number;
  /** Most entries, default `CAPS.fileEntries`. */
  readonly maxEntries?: number;
}

export interface Listing {
  /** Sorted by the bytes of their paths. */
  readonly entries: readonly FileEntry[];
  /** There are more than `maxEntries`. */
  readonly truncated: boolean;
  /** Some directory below could not be opened. */
  readonly unreadable: boolean;
}

export interface ReadOptions extends Abortable {
  /** Bytes. Default 0 and all. */
  readonly offset?: number;
  readonly length?: number;
}

export type FileData =
  | string
  | Uint8Array
  | AsyncIterable<Uint8Array>
  | Readable
  | ReadableStream<Uint8Array>;

export interface WriteOptions extends Abortable {
  /**
   * `truncate` (default) replaces the content, `append` adds to it, `exclusive` insists that there is no file, `update`
   * writes over it from `offset` and keeps the rest. All but `exclusive` take what is there and make what is not.
   */
  readonly how?: 'truncate' | 'append' | 'exclusive' | 'update';
  /** Of `update`, in bytes. */
  readonly offset?: number;
  /** Permission bits, whatever the umask. Default: what the file has, or what the umask leaves of 0o666. */
  readonly mode?: number;
  /** The new content appears as a whole or not at all, under a new inode; a symbolic link is replaced, not followed. Only with `truncate`. */
  readonly atomic?: boolean;
  /** Makes missing directories above. */
  readonly parents?: boolean;
}

export interface MakeDirOptions extends Abortable {
  /** Makes missing directories above, and takes one that is there already. */
  readonly recursive?: boolean;
  readonly mode?: number;
}

export interface RenameOptions extends Abortable {
  /** Refuses with `E_FILE_EXISTS` when the new name is taken. Default: replaces it, as rename(2) does. */
  readonly noReplace?: boolean;
  readonly parents?: boolean;
}

export interface WatchOptions extends Abortable {
  /** Directories below as well, new ones included; at most 64 deep. */
  readonly recursive?: boolean;
  /** Most directories, default `CAPS.fileWatches`. */
  readonly maxDirectories?: number;
}

/** What happened, by path below the watched directory. */
export type WatchEvent =
  | {
      readonly type: 'create' | 'write' | 'remove' | 'chmod';
      readonly path: string;
      readonly directory: boolean;
    }
  | { readonly type: 'rename'; readonly path: string; readonly to: string; readonly directory: boolean }
  /** Events were lost, or there are more directories than are watched: look for yourself. */
  | { readonly type: 'overflow'; readonly of: 'queue' | 'watches' };

/** A watch in force: iterate for its events. Ends when the directory is gone or `stop` was called. */
export interface FileWatch extends AsyncIterable<WatchEvent>, AsyncDisposable {
  stop(): Promise<void>;
}

/** File work inside a sandbox, done there with the rights of its commands. Paths are absolute. */
export interface AgentFileAccess {
  /** @throws E_FILE_NOT_FOUND and its like, E_ABORTED, E_SANDBOX_LOST; so do all of these */
  stat(path: PathBytes, options?: Abortable & { readonly follow?: boolean }): Promise<FileEntry>;
  exists(path: PathBytes, options?: Abortable): Promise<boolean>;
  list(path: PathBytes, options?: ListOptions): Promise<Listing>;
  /** As they are found. @throws E_LIMIT_EXCEEDED beyond `maxEntries` */
  entries(path: PathBytes, options?: ListOptions): AsyncIterable<FileEntry>;
  /** A stream that fails when the file cannot be read to its end. */
  read(path: PathBytes, options?: ReadOptions): Readable;
  /** @throws E_FILE_TOO_LARGE beyond `maxBytes`, default `CAPS.fileReadBytes` */
  readAll(path: PathBytes, options?: ReadOptions & { readonly maxBytes?: number }): Promise<Buffer>;
  write(path: PathBytes, data: FileData, options?: WriteOptions): Promise<FileEntry>;
  /** False when it was there already (with `recursive`). */
  mkdir(path: PathBytes, options?: MakeDirOptions): Promise<boolean>;
  rename(from: PathBytes, to: PathBytes, options?: RenameOptions): Promise<FileEntry>;
  /** Answers how many names are gone. */
  remove(path: PathBytes, options?: Abortable & { readonly recursive?: boolean }): Promise<number>;
  chmod(path: PathBytes, mode: number, options?: Abortable): Promise<FileEntry>;
  /** Makes the link `path`, which says `target`. */
  symlink(target: PathBytes, path: PathBytes, options?: Abortable): Promise<FileEntry>;
  readlink(path: PathBytes, options?: Abortable): Promise<string>;
  /** Resolves when the watch is in force. */
  watch(path: PathBytes, options?: WatchOptions): Promise<FileWatch>;
}

/** A process of the sandbox, as /proc inside tells it: everything but the numbers is the process's own word. */
export interface SandboxProcess {
  readonly pid: number;
  readonly ppid: number;
  /** Process number of the command whose session this is. */
  readonly session: number;
  /** Stream of the command when this is one that was started from outside. */
  readonly stream: number | undefined;
  readonly uid: number;
  /** One letter of proc(5): R, S, D, Z, T, … */
  readonly state: string;
  /** At most 15 bytes. */
  readonly name: string;
  /** At most 4 KiB; empty for a zombie. */
  readonly argv: readonly string[];
  readonly argvCut: boolean;
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  readonly rssBytes: number;
  /** User and system time, microseconds. */
  readonly cpuUs: number;
}

/** A TCP port that is listened on in the sandbox's network namespace. */
export interface ListeningPort {
  readonly port: number;
  readonly address: string;
  readonly uid: number;
}
