import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  futimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import type { TreeSink } from '../agent/tree-link.ts';
import type { TreeEntry, TreeEvent, WhyOther } from '../agent/tree-stream.ts';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { pathToBytes } from '../base/path-bytes.ts';
import { at, namesIn, openDirAt, openRoot, statAt } from './descriptors.ts';

const WHY: Readonly<Record<WhyOther, string>> = {
  special: 'it is a socket, pipe or device',
  unreadable: 'it cannot be read',
  large: 'it is larger than a review may be',
  deep: 'it lies too deep',
};

/** A directory that is being received. */
interface Level {
  readonly fd: number;
  /** Below the root; empty for itself. */
  readonly path: string;
  readonly seen: Set<string>;
  readonly entry?: TreeEntry;
}

/** A file that is being received; without `path` nobody wants it. */
interface Incoming {
  readonly path?: string;
  readonly entry: TreeEntry;
  size: number;
}

/** What is read of one stream at most, whatever of it is kept. */
const BYTES_MAX = 2 * CAPS.reviewBytes;
const ENTRIES_MAX = 4 * CAPS.reviewEntries;

/** The name of the file that is not complete yet, in a directory of its own. */
const INCOMING = 'incoming';

/**
 * Makes a copy of a workspace into what a machine says has become of it. All that arrives is hostile, but names are single components already
 * (`TreeDecoder`). Nothing is written but below `root`, a private directory, by descriptors of directories; no link is followed; a file is put in its
 * place when all of it is there. What breaks off leaves each path as it was or as it became.
 */
export class TreeReceiver implements TreeSink {
  readonly #root: string;
  readonly #spool: number;
  readonly #levels: Level[] = [];
  /** Paths that are not as they were copied. */
  readonly #touched = new Set<string>();
  readonly #refused = new Map<string, string>();
  #file: Incoming | undefined;
  #output: number | undefined;
  /** Directories in each other that nobody wants. */
  #skipped = 0;
  #entries = 0;
  #bytes = 0;
  #truncated = false;
  #unknown = false;
  #isDisposed = false;

  /** `spool` is an empty private directory on the file system of `root`. */
  constructor(root: string, spool: string) {
    this.#root = root;
    this.#spool = openRoot(spool);
  }

  /** Paths that the machine has and that are not in the copy, with the reason. */
  get refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  /** There was more than is taken. */
  get truncated(): boolean {
    return this.#truncated;
  }

  needsAll(): boolean {
    return this.#unknown;
  }

  /** @throws E_REVIEW_TOO_LARGE when there is no end to it, and what the system says */
  take(event: TreeEvent): void {
    if (this.#isDisposed) return;
    switch (event.kind) {
      case 'begin':
        return this.#begin();
      case 'content':
        return this.#content(event.bytes);
      case 'close':
        return this.#close();
      case 'up':
        return this.#skipped > 0 ? void (this.#skipped -= 1) : this.#leave();
      case 'end':
        return this.#leave();
      default:
        return this.#entry(event);
    }
  }

  /** Lets go of every descriptor. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#reset();
    closeSync(this.#spool);
  }

  #reset(): void {
    for (const { fd } of this.#levels.splice(0)) closeSync(fd);
    if (this.#output !== undefined) closeSync(this.#output);
    this.#output = undefined;
    this.#file = undefined;
    this.#skipped = 0;
  }

  #begin(): void {
    this.#reset();
    this.#refused.clear();
    this.#entries = 0;
    this.#bytes = 0;
    this.#truncated = false;
    this.#unknown = false;
    this.#levels.push({ fd: openRoot(this.#root), path: '', seen: new Set() });
  }

  #entry(event: Extract<TreeEvent, { readonly name: string }>): void {
    const level = this.#levels.at(-1);
    this.#entries += 1;
    this.#truncated ||= this.#entries > CAPS.reviewEntries;
    if (this.#entries > ENTRIES_MAX) throw endless(`more than ${ENTRIES_MAX} files and directories`);
    const place = level === undefined || this.#skipped > 0 ? undefined : this.#placeOf(level, event.name);
    if (level === undefined || place === undefined) return this.#skip(event);
    level.seen.add(event.name);
    switch (event.kind) {
      case 'same':
        return this.#same(level, event.name, place);
      case 'other':
        return this.#refuse(level, event.name, { place, why: WHY[event.why] });
      case 'dir':
        return this.#enter(level, event, place);
      case 'link':
        this.#clear(level, event.name, place);
        return symlinkSync(pathToBytes(event.target), at(level.fd, event.name));
      case 'file':
        return this.#open(level, event, place);
    }
  }

  /** Where an entry goes; undefined when it is one too many. */
  #placeOf(level: Level, name: string): string | undefined {
    return this.#truncated ? undefined : level.path === '' ? name : `${level.path}/${name}`;
  }

  #skip(event: TreeEvent): void {
    if (event.kind === 'dir') this.#skipped += 1;
    if (event.kind === 'file') this.#file = { entry: event, size: 0 };
  }

  /** The machine has it as it was given: so has the copy, unless something else stood there in between. */
  #same(level: Level, name: string, place: string): void {
    this.#unknown ||= this.#touched.has(place) || statAt(level.fd, name)?.isDirectory() !== false;
  }

  #refuse(
    level: Level,
    name: string,
    { place, why }: { readonly place: string; readonly why: string },
  ): void {
    this.#clear(level, name, place);
    this.#refused.set(place, why);
  }

  #enter(level: Level, entry: TreeEntry, place: string): void {
    const isDeep = this.#levels.length > CAPS.reviewDepth || place.length > CAPS.reviewPathLength;
    if (isDeep) {
      this.#skipped = 1;
      return this.#refuse(level, entry.name, { place, why: WHY.deep });
    }
    if (statAt(level.fd, entry.name)?.isDirectory() !== true) {
      this.#clear(level, entry.name, place);
      mkdirSync(at(level.fd, entry.name), { mode: 0o700 });
    }
    this.#levels.push({ fd: openDirAt(level.fd, entry.name), path: place, seen: new Set(), entry });
  }

  /** A directory is complete: what the machine did not name is gone there. */
  #leave(): void {
    const level = this.#levels.pop();
    if (level === undefined) return;
    try {
      const gone = this.#truncated ? [] : [...namesIn(level.fd)].filter((name) => !level.seen.has(name));
      for (const name of gone) this.#clear(level, name, level.path === '' ? name : `${level.path}/${name}`);
      if (level.entry === undefined) return;
      const itself = `/proc/self/fd/${level.fd}`;
      // Its owner may enter it, as in the copy: otherwise nobody could tell what became of it.
      chmodSync(itself, (level.entry.mode & 0o777) | 0o700);
      const time = secondsOf(level.entry);
      utimesSync(itself, time, time);
    } finally {
      closeSync(level.fd);
    }
  }

  #open(level: Level, entry: TreeEntry, place: string): void {
    if ((entry.mode & 0o7000) !== 0) {
      this.#file = { entry, size: 0 };
      return this.#refuse(level, entry.name, { place, why: 'it has set-id bits' });
    }
    const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
    rmSync(at(this.#spool, INCOMING), { force: true });
    this.#output = openSync(at(this.#spool, INCOMING), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
    this.#file = { path: place, entry, size: 0 };
  }

  #content(bytes: Buffer): void {
    const file = this.#file;
    if (file === undefined) return;
    this.#bytes += bytes.length;
    file.size += bytes.length;
    if (this.#bytes > BYTES_MAX) throw endless(`more than ${BYTES_MAX} bytes`);
    if (this.#output === undefined) return;
    if (this.#bytes > CAPS.reviewBytes) return this.#giveUp(file);
    for (let done = 0; done < bytes.length;) done += writeSync(this.#output, bytes, done);
  }

  /** There is no room for the rest of it: it is not kept at all. */
  #giveUp(file: Incoming): void {
    const level = this.#levels.at(-1);
    if (this.#output === undefined || level === undefined || file.path === undefined) return;
    ftruncateSync(this.#output, 0);
    closeSync(this.#output);
    this.#output = undefined;
    this.#refuse(level, file.entry.name, { place: file.path, why: WHY.large });
  }

  #close(): void {
    const { path, entry } = this.#file ?? {};
    const level = this.#levels.at(-1);
    this.#file = undefined;
    if (this.#output === undefined || path === undefined || entry === undefined || level === undefined)
      return;
    const time = secondsOf(entry);
    futimesSync(this.#output, time, time);
    fchmodSync(this.#output, entry.mode & 0o777);
    closeSync(this.#output);
    this.#output = undefined;
    if (statAt(level.fd, entry.name)?.isDirectory() === true) this.#clear(level, entry.name, path);
    this.#touched.add(path);
    renameSync(at(this.#spool, INCOMING), at(level.fd, entry.name));
  }

  #clear({ fd }: Level, name: string, place: string): void {
    this.#touched.add(place);
    // It may be a directory with whatever the machine put in it: rm(1) without following anything.
    if (statAt(fd, name) !== undefined) rmSync(at(fd, name), { recursive: true, force: true });
  }
}

/** For utimes(2): later than any file system knows is as good as the last moment that all of them do. */
const secondsOf = ({ mtimeNs }: TreeEntry): number => Math.min(Number(mtimeNs / 1000n) / 1e6, 0x7fff_ffff);

function endless(why: string): GloveboxError {
  return new GloveboxError('E_REVIEW_TOO_LARGE', {
    what: 'there is no end to the files of the machine',
    why,
  });
}
