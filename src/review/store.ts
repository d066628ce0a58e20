import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { z } from 'zod';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { ensurePrivateDir, type GloveboxDirs } from '../base/paths.ts';
import { isAlive, processIdentity } from '../base/process-identity.ts';
import { removeTree } from '../base/remove-tree.ts';
import type { ContentSink } from './compare.ts';
import type { Review } from './contract.ts';

const REVIEW_ID = /^rev_[a-z2-7]{1,40}$/;
const NOTE = 'review.json';

const NODE = z.union([
  z.strictObject({
    type: z.literal('file'),
    size: z.number(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
    mode: z.number().int().min(0).max(0o777),
  }),
  z.strictObject({ type: z.literal('dir'), mode: z.number().int().min(0).max(0o777) }),
  z.strictObject({ type: z.literal('symlink'), target: z.string() }),
]);

const CHANGE = z.strictObject({
  path: z.string().regex(/^(?!\/)(?!.*(^|\/)\.{0,2}(\/|$))/s),
  kind: z.enum(['added', 'modified', 'deleted', 'mode']),
  before: NODE.exactOptional(),
  after: NODE.exactOptional(),
  content: z.number().int().min(0).exactOptional(),
  binary: z.boolean().exactOptional(),
  blocked: z.string().exactOptional(),
  protectedBy: z.string().exactOptional(),
  runs: z.string().exactOptional(),
});

const REVIEW = z.strictObject({
  version: z.literal(1),
  id: z.string().regex(REVIEW_ID),
  sandbox: z.string(),
  workspace: z.string().startsWith('/'),
  madeAt: z.number(),
  changes: z.array(CHANGE),
  truncated: z.boolean(),
});

/** Reviews of this user, one directory each in the state directory: the note, and the new contents by number. */
export class ReviewStore {
  readonly #root: string;

  constructor(dirs: Pick<GloveboxDirs, 'state'>) {
    this.#root = path.join(dirs.state, 'reviews');
  }

  /** Oldest first. What cannot be read is left out. */
  list(): readonly Review[] {
    return this.#names()
      .filter((name) => REVIEW_ID.test(name))
      .flatMap((name) => {
        try {
          return [this.get(name)];
        } catch {
          return [];
        }
      })
      .sort((a, b) => a.madeAt - b.madeAt);
  }

  /** @throws E_REVIEW_NOT_FOUND; E_IO for a note that is damaged */
  get(id: string): Review {
    if (!REVIEW_ID.test(id)) throw notFound(id);
    let text: string;
    try {
      text = readFileSync(path.join(this.#root, id, NOTE), 'utf8');
    } catch (error) {
      if (systemCode(error) === 'ENOENT') throw notFound(id);
      throw error;
    }
    const parsed = REVIEW.safeParse(jsonOf(text));
    if (parsed.success && parsed.data.id === id) return parsed.data;
    throw new GloveboxError('E_IO', {
      what: `the review ${id} is damaged`,
      next: `Remove it: glovebox review discard ${id}`,
    });
  }

  /** Of one that is there. @throws E_REVIEW_NOT_FOUND */
  directory(id: string): string {
    if (!REVIEW_ID.test(id) || !this.#names().includes(id)) throw notFound(id);
    return path.join(this.#root, id);
  }

  /** Where the new content of a change is. */
  content(id: string, number: number): string {
    return path.join(this.#root, id, String(number));
  }

  /** Where an application keeps what it needs to undo itself. */
  journal(id: string): string {
    return path.join(this.#root, id, 'applying.json');
  }

  lockFile(id: string): string {
    return path.join(this.#root, id, 'lock');
  }

  /** A review that is being made. Nobody sees it before `finish`. */
  draft(): ReviewDraft {
    const owner = processIdentity(process.pid) ?? { pid: process.pid, startTicks: '0' };
    const dir = path.join(
      ensurePrivateDir(this.#root),
      `draft-${owner.pid}-${owner.startTicks}-${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`,
    );
    mkdirSync(dir, { mode: 0o700 });
    return new ReviewDraft(dir, this.#root);
  }

  /** Replaces the note. */
  update(review: Review): void {
    writeNote(path.join(this.#root, review.id), review);
  }

  /** @throws E_REVIEW_NOT_FOUND */
  async remove(id: string): Promise<void> {
    await removeTree(this.directory(id));
  }

  /** Removes what processes that are dead have begun. */
  async sweep(): Promise<void> {
    for (const name of this.#names()) {
      const [, pid, startTicks] = /^draft-(\d+)-(\d+)-/.exec(name) ?? [];
      if (pid === undefined || startTicks === undefined || isAlive({ pid: Number(pid), startTicks }))
        continue;
      await removeTree(path.join(this.#root, name)).catch(() => undefined);
    }
  }

  #names(): readonly string[] {
    try {
      return readdirSync(this.#root);
    } catch {
      return [];
    }
  }
}

/** Takes contents, and becomes a review. */
export class ReviewDraft implements ContentSink {
  readonly #dir: string;
  readonly #root: string;
  #count = 0;
  #output: number | undefined;

  constructor(dir: string, root: string) {
    this.#dir = dir;
    this.#root = root;
  }

  open(): number {
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    this.#output = openSync(path.join(this.#dir, String(this.#count)), O_WRONLY | O_CREAT | O_EXCL, 0o600);
    return this.#output;
  }

  keep(): number {
    this.#close();
    return this.#count++;
  }

  drop(): void {
    this.#close();
    unlinkSync(path.join(this.#dir, String(this.#count)));
  }

  finish(review: Review): void {
    writeNote(this.#dir, review);
    renameSync(this.#dir, path.join(this.#root, review.id));
  }

  async discard(): Promise<void> {
    this.#close();
    await removeTree(this.#dir);
  }

  #close(): void {
    if (this.#output !== undefined) closeSync(this.#output);
    this.#output = undefined;
  }
}

function writeNote(dir: string, review: Review): void {
  const draft = path.join(dir, `${NOTE}.new`);
  writeFileSync(draft, JSON.stringify(review), { mode: 0o600 });
  renameSync(draft, path.join(dir, NOTE));
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function notFound(id: string): GloveboxError {
  return new GloveboxError('E_REVIEW_NOT_FOUND', { what: `there is no review "${id.slice(0, 60)}"` });
}
