import { constants } from 'node:os';
import { posix } from 'node:path';
import type { PathBytes } from '../../agent/contract.ts';
import { fileError } from '../../agent/file-errors.ts';
import type { EntryType, FileEntry } from '../../agent/files-contract.ts';
import type { GloveboxError } from '../../base/errors.ts';
import { pathFromBytes } from '../../base/path-bytes.ts';

const { errno: E } = constants;

/** path_resolution(7): as many symbolic links as Linux follows. */
const LINKS_MAX = 40;
const NAME_BYTES = 255;
const PATH_BYTES = 4095;

interface Common {
  mode: number;
  readonly uid: number;
  readonly gid: number;
  mtimeMs: number;
}

export interface FileNode extends Common {
  readonly type: 'file';
  data: Buffer;
}

export interface DirNode extends Common {
  readonly type: 'dir';
  readonly entries: Map<string, Node>;
}

export interface LinkNode extends Common {
  readonly type: 'symlink';
  readonly target: string;
}

export type Node = FileNode | DirNode | LinkNode;

/** A name and the directory that holds it or would. */
export interface Place {
  readonly path: string;
  readonly parent: DirNode;
  readonly name: string;
  /** Undefined when there is nothing of this name. */
  readonly node: Node | undefined;
}

/** What an operation is about, for its errors. */
export interface Asked {
  readonly verb: string;
  readonly path: PathBytes;
}

const COMMON = { uid: 1000, gid: 1000 };

export const newFile = (data: Buffer, mode = 0o644): FileNode => ({
  ...COMMON,
  type: 'file',
  data,
  mode,
  mtimeMs: Date.now(),
});

export const newDir = (mode = 0o755): DirNode => ({
  ...COMMON,
  type: 'dir',
  entries: new Map(),
  mode,
  mtimeMs: Date.now(),
});

export const newLink = (target: string): LinkNode => ({
  ...COMMON,
  type: 'symlink',
  target,
  mode: 0o777,
  mtimeMs: Date.now(),
});

/** The same error as the agent's, by the name of an errno(3). */
export function refusal({ verb, path }: Asked, errno: keyof typeof E, step: string): GloveboxError {
  const nothing = { bytes: 0, count: 0, truncated: false, created: false, unreadable: false };
  return fileError(verb, path, { ...nothing, errno: E[errno], step, entry: undefined, signal: 0 });
}

/** Names and what they hold; resolves paths as path_resolution(7) says, without users or permissions. */
export class MemoryTree {
  readonly root: DirNode = newDir();

  /** What a path leads to. */
  get(asked: Asked): Node {
    const { node } = this.place(asked, true);
    if (node === undefined) throw refusal(asked, 'ENOENT', 'open');
    return node;
  }

  directory(asked: Asked): DirNode {
    const node = this.get(asked);
    if (node.type !== 'dir') throw refusal(asked, 'ENOTDIR', 'open');
    return node;
  }

  /** The place of a path's last name; `follow`: of what it leads to, when it is a symbolic link. */
  place(asked: Asked, follow = false): Place {
    return this.#walk(asked, { path: this.#checked(asked), follow, links: 0 });
  }

  /** Makes what is missing above a path. */
  makeParents(asked: Asked): void {
    const path = this.#checked(asked);
    const names = path.split('/').filter((name) => name !== '' && name !== '.');
    for (let i = 1; i < names.length; i++) {
      const above = { ...asked, path: `/${names.slice(0, i).join('/')}` };
      const { parent, name, node } = this.place(above, true);
      if (node === undefined) parent.entries.set(name, newDir());
      else if (node.type !== 'dir') throw refusal(asked, 'ENOTDIR', 'mkdir');
    }
  }

  /** As the agent describes it: a symbolic link with what it leads to. */
  entry(node: Node, path: string): FileEntry {
    const { type, mode, uid, gid, mtimeMs } = node;
    const common = { name: posix.basename(path), path, type, mode, uid, gid, mtimeMs };
    if (node.type === 'file') return { ...common, size: node.data.length };
    if (node.type === 'dir') return { ...common, size: 4096 };
    const leadsTo = this.#leadsTo(path);
    const link = { ...common, size: Buffer.byteLength(node.target), target: node.target };
    return leadsTo === undefined ? link : { ...link, leadsTo };
  }

  #leadsTo(path: string): EntryType | undefined {
    try {
      return this.get({ verb: 'stat', path }).type;
    } catch {
      return undefined;
    }
  }

  #checked(asked: Asked): string {
    const { path } = asked;
    const text = typeof path === 'string' ? path : pathFromBytes(path);
    const long = text.split('/').some((name) => Buffer.byteLength(name) > NAME_BYTES);
    if (long || Buffer.byteLength(text) > PATH_BYTES) throw refusal(asked, 'ENAMETOOLONG', 'open');
    if (!text.startsWith('/') || text.includes('\0')) throw refusal(asked, 'ENOENT', 'open');
    return text;
  }

  #walk(
    asked: Asked,
    want: { readonly path: string; readonly follow: boolean; readonly links: number },
  ): Place {
    if (want.links > LINKS_MAX) throw refusal(asked, 'ELOOP', 'open');
    const above: DirNode[] = [];
    const names: string[] = [];
    const rest = want.path.split('/').filter((name) => name !== '' && name !== '.');
    let here = this.root;
    for (let name = rest.shift(); name !== undefined; name = rest.shift()) {
      if (name === '..') {
        here = above.pop() ?? this.root;
        names.pop();
        continue;
      }
      const node = here.entries.get(name);
      const last = rest.length === 0;
      if (node?.type === 'symlink' && (!last || want.follow)) {
        const path = posix.resolve(`/${names.join('/')}`, node.target, ...rest);
        return this.#walk(asked, { ...want, path, links: want.links + 1 });
      }
      if (last) return { path: `/${[...names, name].join('/')}`, parent: here, name, node };
      if (node === undefined) throw refusal(asked, 'ENOENT', 'open');
      if (node.type !== 'dir') throw refusal(asked, 'ENOTDIR', 'open');
      above.push(here);
      names.push(name);
      here = node;
    }
    const parent = above.at(-1) ?? this.root;
    return { path: `/${names.join('/')}`, parent, name: names.at(-1) ?? '', node: here };
  }
}
