import {
  chmodSync,
  closeSync,
  fchmodSync,
  fstatSync,
  futimesSync,
  mkdirSync,
  openSync,
  readlinkSync,
  symlinkSync,
  utimesSync,
  type BigIntStats,
} from 'node:fs';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { pathFromBytes, pathToBytes, printablePath } from '../base/path-bytes.ts';
import { drain, Turns } from './content.ts';
import type { Manifest, NodeState, Stamp } from './contract.ts';
import { at, namesIn, openDirAt, openFileAt, openRoot, statAt } from './descriptors.ts';

export interface CopyInput {
  readonly from: string;
  /** Exists and is empty. */
  readonly to: string;
  /** Why a path (below `from`) is not to be seen inside; undefined for all others. */
  readonly withheld: (path: string) => string | undefined;
}

/** File times advance by the tick of a clock: a change in the same tick as the copy would not show. In nanoseconds. */
const TICK_NS = 50_000_000n;

/**
 * Copies a workspace into a private directory and says what is in it. No symbolic link is followed; sockets, pipes and devices stay outside, and so does
 * what cannot be read; set-id bits are dropped.
 *
 * @throws E_REVIEW_TOO_LARGE beyond `CAPS.reviewBytes`, `reviewEntries` or `reviewDepth`
 */
export async function copyWorkspace(input: CopyInput): Promise<Manifest> {
  const copy = new WorkspaceCopy(input);
  await copy.run();
  return copy.manifest();
}

interface Place {
  readonly from: number;
  readonly to: number;
  /** Below the workspace; empty for itself. */
  readonly path: string;
  readonly depth: number;
}

class WorkspaceCopy {
  readonly #input: CopyInput;
  readonly #turns = new Turns();
  readonly #nodes = new Map<string, { readonly state: NodeState; readonly stamp?: Stamp }>();
  readonly #withheld = new Map<string, string>();
  #bytes = 0;

  constructor(input: CopyInput) {
    this.#input = input;
  }

  manifest(): Manifest {
    const latest = BigInt(Date.now()) * 1_000_000n - TICK_NS;
    const nodes = [...this.#nodes].map(([path, { state, stamp }]) => {
      const trusted = stamp !== undefined && stamp.ctimeNs < latest;
      return [path, trusted ? { state, stamp } : { state }] as const;
    });
    return { nodes: new Map(nodes), withheld: this.#withheld };
  }

  async run(): Promise<void> {
    const from = openRoot(this.#input.from);
    try {
      const to = openRoot(this.#input.to);
      try {
        await this.#dir({ from, to, path: '', depth: 0 });
      } finally {
        closeSync(to);
      }
    } finally {
      closeSync(from);
    }
  }

  async #dir(place: Place): Promise<void> {
    if (place.depth > CAPS.reviewDepth) throw tooLarge(`${shown(place.path)} is too deep`);
    for (const name of namesIn(place.from)) await this.#entry(place, name);
  }

  async #entry(place: Place, name: string): Promise<void> {
    await this.#turns.take();
    const path = place.path === '' ? name : `${place.path}/${name}`;
    const hidden = this.#input.withheld(path);
    if (hidden !== undefined) return this.#withhold(path, hidden);
    if (this.#nodes.size >= CAPS.reviewEntries)
      throw tooLarge(`it has more than ${CAPS.reviewEntries} files and directories`);
    const stat = statAt(place.from, name);
    if (stat === undefined) return;
    try {
      if (stat.isDirectory()) await this.#subdirectory(place, name, { path, stat });
      else if (stat.isSymbolicLink()) this.#symlink(place, name, path);
      else if (stat.isFile()) await this.#file(place, name, path);
      else this.#withhold(path, 'it is a socket, pipe or device of the host');
    } catch (error) {
      const code = systemCode(error);
      if (code !== 'EACCES' && code !== 'EPERM') throw error;
      this.#withhold(path, 'it cannot be read');
    }
  }

  #withhold(path: string, why: string): void {
    this.#withheld.set(path, why);
  }

  async #subdirectory(
    place: Place,
    name: string,
    { path, stat }: { readonly path: string; readonly stat: BigIntStats },
  ): Promise<void> {
    const from = openDirAt(place.from, name);
    try {
      const mode = Number(stat.mode) & 0o777;
      mkdirSync(at(place.to, name), { mode: 0o700 });
      this.#nodes.set(path, { state: { type: 'dir', mode } });
      const to = openDirAt(place.to, name);
      try {
        await this.#dir({ from, to, path, depth: place.depth + 1 });
      } finally {
        closeSync(to);
      }
      // It stays one that its owner may enter: otherwise nobody could tell what became of it.
      chmodSync(at(place.to, name), mode | 0o700);
      utimesSync(at(place.to, name), Number(stat.atimeMs) / 1000, Number(stat.mtimeMs) / 1000);
    } finally {
      closeSync(from);
    }
  }

  #symlink(place: Place, name: string, path: string): void {
    const target = pathFromBytes(readlinkSync(at(place.from, name), { encoding: 'buffer' }));
    symlinkSync(pathToBytes(target), at(place.to, name));
    this.#nodes.set(path, { state: { type: 'symlink', target } });
  }

  async #file(place: Place, name: string, path: string): Promise<void> {
    const input = openFileAt(place.from, name);
    try {
      const stat = fstatSync(input);
      if (!stat.isFile()) return this.#withhold(path, 'it changed while it was copied');
      const output = openSync(at(place.to, name), 'wx', 0o600);
      try {
        const content = await drain(input, this.#turns, { most: CAPS.reviewBytes - this.#bytes, output });
        if (content === undefined) throw tooLarge(`it holds more than ${CAPS.reviewBytes} bytes`);
        this.#bytes += content.size;
        const mode = stat.mode & 0o777;
        futimesSync(output, stat.atime, stat.mtime);
        fchmodSync(output, mode);
        const { ino, size, ctimeNs } = fstatSync(output, { bigint: true });
        const { sha256 } = content;
        this.#nodes.set(path, {
          state: { type: 'file', size: content.size, sha256, mode },
          stamp: { ino, size, ctimeNs },
        });
      } finally {
        closeSync(output);
      }
    } finally {
      closeSync(input);
    }
  }
}

const shown = (path: string): string => printablePath(path.slice(0, 200));

function tooLarge(why: string): GloveboxError {
  return new GloveboxError('E_REVIEW_TOO_LARGE', {
    what: 'the workspace is too large to be copied for a review',
    why,
  });
}
