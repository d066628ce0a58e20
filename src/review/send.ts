import { closeSync, fstatSync, readlinkSync, readSync, type BigIntStats } from 'node:fs';
import path from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import { filePiece, linkTarget, PIECE_MAX, treeRecord } from '../agent/tree-stream.ts';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { pathToBytes, printablePath } from '../base/path-bytes.ts';
import { at, namesIn, openDirAt, openFileAt, openRoot, statAt } from './descriptors.ts';

/** A tree or file of the host that is copied into a machine. */
export interface SentTree {
  /** Absolute. */
  readonly source: string;
  /** Its name at the top of the stream. */
  readonly name: string;
  /** Whether an absolute path is not to be seen inside. */
  readonly withheld: (path: string) => boolean;
}

/** What a copy takes of a file system in memory: each entry, and pages. Bytes. */
const ENTRY_BYTES = 1024;
const PAGE_BYTES = 4096;

/** So much is handed on at once. */
const BATCH_BYTES = 256 * 1024;

/** Room that trees take in a machine's memory; bytes. @throws E_REVIEW_TOO_LARGE beyond `CAPS.reviewEntries` or `reviewDepth` */
export function roomOf(trees: readonly SentTree[]): number {
  let bytes = 0;
  let entries = 0;
  for (const { stat } of trees.flatMap((tree) => [...visible(tree)])) {
    if (++entries > CAPS.reviewEntries)
      throw tooMany(`more than ${CAPS.reviewEntries} files and directories`);
    const pages = stat?.isFile() === true ? Math.ceil(Number(stat.size) / PAGE_BYTES) : 0;
    bytes += ENTRY_BYTES + pages * PAGE_BYTES;
  }
  return bytes;
}

/** The trees as a stream. What cannot be read, and what is no file, directory or link, is left out. No link is followed. */
export async function* sendTrees(trees: readonly SentTree[]): AsyncGenerator<Buffer, void, undefined> {
  let batch: Buffer[] = [];
  let bytes = 0;
  for (const record of records(trees)) {
    batch.push(record);
    bytes += record.length;
    if (bytes < BATCH_BYTES) continue;
    yield Buffer.concat(batch);
    batch = [];
    bytes = 0;
    await breathe();
  }
  yield Buffer.concat(batch);
}

function* records(trees: readonly SentTree[]): Generator<Buffer, void, undefined> {
  for (const tree of trees) for (const found of visible(tree)) yield* recordsOf(found);
  yield treeRecord('end');
}

/** An entry on the way through a tree; without `stat` a directory is left. */
interface Found {
  readonly dir: number;
  /** In `dir`. */
  readonly name: string;
  /** In the stream. */
  readonly shown: string;
  readonly stat?: BigIntStats;
}

function* visible({ source, name, withheld }: SentTree): Generator<Found, void, undefined> {
  const parent = openRoot(path.dirname(source));
  try {
    const base = path.basename(source);
    yield* entry({ dir: parent, name: base, shown: name }, { path: source, depth: 0, withheld });
  } finally {
    closeSync(parent);
  }
}

interface Where extends Pick<SentTree, 'withheld'> {
  readonly path: string;
  readonly depth: number;
}

function* entry(found: Omit<Found, 'stat'>, where: Where): Generator<Found, void, undefined> {
  if (where.withheld(where.path)) return;
  if (where.depth > CAPS.reviewDepth) throw tooMany(`${printablePath(where.path.slice(0, 200))} is too deep`);
  const stat = statAt(found.dir, found.name);
  if (stat === undefined) return;
  if (stat.isFile() || stat.isSymbolicLink()) return yield { ...found, stat };
  if (!stat.isDirectory()) return;
  const dir = readable(() => openDirAt(found.dir, found.name));
  if (dir === undefined) return;
  try {
    yield { ...found, stat };
    for (const name of namesIn(dir)) {
      const below = `${where.path === '/' ? '' : where.path}/${name}`;
      yield* entry({ dir, name, shown: name }, { ...where, path: below, depth: where.depth + 1 });
    }
    yield { ...found, dir };
  } finally {
    closeSync(dir);
  }
}

function* recordsOf({ dir, name, shown, stat }: Found): Generator<Buffer, void, undefined> {
  if (stat === undefined) return yield treeRecord('up');
  const bytes = pathToBytes(shown);
  const about = { mode: Number(stat.mode), mtimeNs: stat.mtimeNs };
  if (stat.isDirectory()) return yield treeRecord('dir', bytes, about);
  if (stat.isSymbolicLink()) {
    const target = readable(() => readlinkSync(at(dir, name), { encoding: 'buffer' }));
    if (target !== undefined) yield Buffer.concat([treeRecord('link', bytes, about), linkTarget(target)]);
    return;
  }
  const file = readable(() => openFileAt(dir, name));
  if (file === undefined) return;
  try {
    if (!fstatSync(file).isFile()) return;
    yield treeRecord('file', bytes, about);
    yield* pieces(file, Number(stat.size));
  } finally {
    closeSync(file);
  }
}

/** As much as was counted: a file may grow while it is read. */
function* pieces(file: number, size: number): Generator<Buffer, void, undefined> {
  for (let left = size; left > 0;) {
    const data = Buffer.allocUnsafe(Math.min(left, PIECE_MAX));
    const n = readSync(file, data, 0, data.length, null);
    if (n === 0) break;
    left -= n;
    yield filePiece(data.subarray(0, n));
  }
  yield filePiece(Buffer.alloc(0));
}

function readable<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch (error) {
    if (['EACCES', 'EPERM', 'ENOENT', 'ELOOP', 'ENOTDIR', 'EINVAL'].includes(systemCode(error) ?? ''))
      return undefined;
    throw error;
  }
}

function tooMany(why: string): GloveboxError {
  return new GloveboxError('E_REVIEW_TOO_LARGE', {
    what: 'a tree is too large to be copied into a machine',
    why,
  });
}
