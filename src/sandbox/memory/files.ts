import { Readable } from 'node:stream';
import { posix } from 'node:path';
import type { PathBytes } from '../../agent/contract.ts';
import { abortedError, shownPath } from '../../agent/file-errors.ts';
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
} from '../../agent/files-contract.ts';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, isGloveboxError } from '../../base/errors.ts';
import { pathToBytes } from '../../base/path-bytes.ts';
import { MemoryTree, newDir, newFile, newLink, refusal, type Asked, type DirNode } from './tree.ts';
import { MemoryWatch, type Change } from './watch.ts';

/** Files of the double: those of a `MemoryTree`, with the agent's operations, answers and errors. */
export class MemoryFiles implements AgentFileAccess {
  readonly #tree = new MemoryTree();
  readonly #watches = new Set<MemoryWatch>();
  #lost: GloveboxError | undefined;

  /** The sandbox has ended: everything is refused with this. */
  end(reason: GloveboxError): void {
    this.#lost = reason;
    for (const watch of this.#watches) watch.end(reason);
  }

  async stat(path: PathBytes, options: Abortable & { readonly follow?: boolean } = {}): Promise<FileEntry> {
    const asked = this.#begin('stat', path, options);
    const { node } = this.#tree.place(asked, options.follow === true);
    if (node === undefined) throw refusal(asked, 'ENOENT', 'stat');
    return this.#tree.entry(node, shownPath(path));
  }

  async exists(path: PathBytes, options: Abortable = {}): Promise<boolean> {
    try {
      await this.stat(path, options);
      return true;
    } catch (error) {
      const codes: readonly string[] = ['E_FILE_NOT_FOUND', 'E_FILE_NOT_DIRECTORY'];
      if (isGloveboxError(error) && codes.includes(error.code)) return false;
      throw error;
    }
  }

  async list(path: PathBytes, options: ListOptions = {}): Promise<Listing> {
    const { depth = 1, maxEntries = CAPS.fileEntries } = options;
    const directory = this.#tree.directory(this.#begin('list', path, options));
    const all = [...this.#below(directory, shownPath(path), depth)]
      .map((entry) => ({ entry, key: pathToBytes(entry.path) }))
      .toSorted((one, other) => Buffer.compare(one.key, other.key))
      .map(({ entry }) => entry);
    return { entries: all.slice(0, maxEntries), truncated: all.length > maxEntries, unreadable: false };
  }

  async *entries(path: PathBytes, options: ListOptions = {}): AsyncGenerator<FileEntry, void, undefined> {
    const { entries, truncated } = await this.list(path, options);
    yield* entries;
    if (!truncated) return;
    throw new GloveboxError('E_LIMIT_EXCEEDED', {
      what: `${shownPath(path)} has more than ${options.maxEntries ?? CAPS.fileEntries} entries`,
    });
  }

  read(path: PathBytes, options: ReadOptions = {}): Readable {
    const content = (async function* (files: MemoryFiles): AsyncGenerator<Buffer> {
      const data = await files.#content(path, options);
      for (let at = 0; at < data.length; at += PIECE_BYTES) yield data.subarray(at, at + PIECE_BYTES);
    })(this);
    return Readable.from(content, { objectMode: false });
  }

  async readAll(
    path: PathBytes,
    options: ReadOptions & { readonly maxBytes?: number } = {},
  ): Promise<Buffer> {
    const max = options.maxBytes ?? CAPS.fileReadBytes;
    const data = await this.#content(path, options);
    if (data.length <= max) return Buffer.from(data);
    throw new GloveboxError('E_FILE_TOO_LARGE', {
      what: `${shownPath(path)} has more than ${max} bytes`,
      context: { path: shownPath(path), maxBytes: max },
    });
  }

  async write(path: PathBytes, data: FileData, options: WriteOptions = {}): Promise<FileEntry> {
    const { how = 'truncate', atomic = false } = options;
    if (atomic && how !== 'truncate')
      throw new GloveboxError('E_USAGE', {
        what: `an atomic write replaces the whole file: it cannot ${how}`,
      });
    const asked = this.#begin('write', path, options);
    if (options.parents === true) this.#tree.makeParents(asked);
    // What cannot be written is refused before its content is asked for.
    this.#target(asked, how, atomic);
    const content = await collected(data);
    this.#begin('write', path, options);
    const { parent, name, node, path: where } = this.#target(asked, how, atomic);
    const kept = node?.type === 'file' ? node : undefined;
    const file = kept === undefined || atomic ? newFile(content, kept?.mode) : kept;
    if (kept !== undefined) file.data = combined(kept.data, content, { ...options, how });
    if (options.mode !== undefined) file.mode = options.mode;
    file.mtimeMs = Date.now();
    parent.entries.set(name, file);
    if (kept === undefined) this.#tell({ type: 'create', path: where, directory: false });
    this.#tell({ type: 'write', path: where, directory: false });
    return this.#tree.entry(file, shownPath(path));
  }

  async mkdir(path: PathBytes, options: MakeDirOptions = {}): Promise<boolean> {
    const asked = this.#begin('mkdir', path, options);
    if (options.recursive === true) this.#tree.makeParents(asked);
    const { parent, name, node, path: where } = this.#tree.place(asked);
    if (node !== undefined) {
      if (options.recursive === true && this.#tree.get(asked).type === 'dir') return false;
      throw refusal(asked, 'EEXIST', 'mkdir');
    }
    parent.entries.set(name, newDir(options.mode));
    this.#tell({ type: 'create', path: where, directory: true });
    return true;
  }

  async rename(from: PathBytes, to: PathBytes, options: RenameOptions = {}): Promise<FileEntry> {
    const asked = this.#begin('rename', from, options);
    const source = this.#tree.place(asked);
    if (source.node === undefined) throw refusal(asked, 'ENOENT', 'rename');
    const goal = { verb: 'rename', path: to };
    if (options.parents === true) this.#tree.makeParents(goal);
    const target = this.#tree.place(goal);
    if (target.node !== undefined) this.#refuseReplacing(asked, source.node, target.node, options);
    source.parent.entries.delete(source.name);
    target.parent.entries.set(target.name, source.node);
    const directory = source.node.type === 'dir';
    this.#tell({ type: 'rename', path: source.path, to: target.path, directory });
    return this.#tree.entry(source.node, shownPath(to));
  }

  async remove(path: PathBytes, options: Abortable & { readonly recursive?: boolean } = {}): Promise<number> {
    const asked = this.#begin('remove', path, options);
    const { parent, name, node, path: where } = this.#tree.place(asked);
    if (node === undefined) throw refusal(asked, 'ENOENT', 'remove');
    if (name === '') throw refusal(asked, 'EBUSY', 'remove');
    const inside = node.type === 'dir' ? [...this.#below(node, where, Infinity)] : [];
    if (inside.length > 0 && options.recursive !== true) throw refusal(asked, 'ENOTEMPTY', 'remove');
    parent.entries.delete(name);
    for (const entry of inside.toReversed())
      this.#tell({ type: 'remove', path: entry.path, directory: entry.type === 'dir' });
    this.#tell({ type: 'remove', path: where, directory: node.type === 'dir' });
    return inside.length + 1;
  }

  async chmod(path: PathBytes, mode: number, options: Abortable = {}): Promise<FileEntry> {
    const asked = this.#begin('chmod', path, options);
    const node = this.#tree.get(asked);
    node.mode = mode;
    this.#tell({ type: 'chmod', path: this.#tree.place(asked, true).path, directory: node.type === 'dir' });
    return this.#tree.entry(node, shownPath(path));
  }

  async symlink(target: PathBytes, path: PathBytes, options: Abortable = {}): Promise<FileEntry> {
    const asked = this.#begin('symlink', path, options);
    const { parent, name, node, path: where } = this.#tree.place(asked);
    if (node !== undefined) throw refusal(asked, 'EEXIST', 'symlink');
    const link = newLink(shownPath(target));
    parent.entries.set(name, link);
    this.#tell({ type: 'create', path: where, directory: false });
    return this.#tree.entry(link, shownPath(path));
  }

  async readlink(path: PathBytes, options: Abortable = {}): Promise<string> {
    const { target } = await this.stat(path, options);
    if (target !== undefined) return target;
    throw new GloveboxError('E_FILE_UNSUPPORTED', {
      what: `${shownPath(path)} is not a symbolic link`,
      next: 'Ask `stat` for what it is.',
    });
  }

  async watch(path: PathBytes, options: WatchOptions = {}): Promise<FileWatch> {
    const asked = this.#begin('watch', path, options);
    this.#tree.directory(asked);
    const { recursive = false, signal } = options;
    const root = this.#tree.place(asked, true).path;
    const watch = new MemoryWatch({ root, recursive, left: () => this.#watches.delete(watch) });
    this.#watches.add(watch);
    signal?.addEventListener('abort', () => watch.end(abortedError(`watching ${root}`, signal)), {
      once: true,
    });
    return watch;
  }

  #begin(verb: string, path: PathBytes, { signal }: Abortable): Asked {
    if (this.#lost !== undefined) throw this.#lost;
    if (signal?.aborted === true) throw abortedError(`to ${verb} ${shownPath(path)}`, signal);
    return { verb, path };
  }

  async #content(path: PathBytes, options: ReadOptions): Promise<Buffer> {
    const asked = this.#begin('read', path, options);
    const node = this.#tree.get(asked);
    if (node.type === 'dir') throw refusal(asked, 'EISDIR', 'read');
    if (node.type !== 'file') throw refusal(asked, 'EOPNOTSUPP', 'open');
    const { offset = 0, length = Infinity } = options;
    return node.data.subarray(offset, offset + length);
  }

  #target(
    asked: Asked,
    how: NonNullable<WriteOptions['how']>,
    atomic: boolean,
  ): ReturnType<MemoryTree['place']> {
    const place = this.#tree.place(asked, !atomic);
    if (place.node?.type === 'dir') throw refusal(asked, 'EISDIR', 'open');
    if (place.node !== undefined && how === 'exclusive') throw refusal(asked, 'EEXIST', 'open');
    return place;
  }

  #refuseReplacing(
    asked: Asked,
    from: { readonly type: string },
    to: { readonly type: string; readonly entries?: DirNode['entries'] },
    { noReplace }: RenameOptions,
  ): void {
    if (noReplace === true) throw refusal(asked, 'EEXIST', 'rename');
    if (to.type === 'dir' && from.type !== 'dir') throw refusal(asked, 'EISDIR', 'rename');
    if (to.type !== 'dir' && from.type === 'dir') throw refusal(asked, 'ENOTDIR', 'rename');
    if ((to.entries?.size ?? 0) > 0) throw refusal(asked, 'ENOTEMPTY', 'rename');
  }

  *#below(directory: DirNode, path: string, depth: number): Generator<FileEntry> {
    for (const [name, node] of directory.entries) {
      const at = posix.join(path, name);
      yield this.#tree.entry(node, at);
      if (node.type === 'dir' && depth > 1) yield* this.#below(node, at, depth - 1);
    }
  }

  #tell(change: Change): void {
    for (const watch of [...this.#watches]) watch.hear(change);
  }
}

/** Large files are read in pieces, as from the agent. */
const PIECE_BYTES = 64 * 1024;

async function collected(data: FileData): Promise<Buffer> {
  if (typeof data === 'string') return Buffer.from(data);
  if (data instanceof Uint8Array) return Buffer.from(data);
  const pieces: Uint8Array[] = [];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- A web stream is iterable in Node; the library type does not say so.
  for await (const piece of data as AsyncIterable<Uint8Array>) pieces.push(piece);
  return Buffer.concat(pieces);
}

/** What a file that is there holds after a write. */
function combined(old: Buffer, data: Buffer, { how, offset = 0 }: WriteOptions): Buffer {
  if (how === 'append') return Buffer.concat([old, data]);
  if (how !== 'update') return data;
  const grown = Buffer.alloc(Math.max(old.length, offset + data.length));
  old.copy(grown);
  data.copy(grown, offset);
  return grown;
}
