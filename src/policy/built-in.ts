import path from 'node:path';
import { isWithin } from '../base/path-bytes.ts';
import type { PathRule } from './contract.ts';
import { PROTECT, type ProtectedName } from './protected.ts';

export interface ProtectionInput {
  /** Writable trees, the workspace first. */
  readonly roots: readonly string[];
  readonly home: string;
  /** Names that a policy lifted. */
  readonly lifted: ReadonlySet<string>;
}

/** The built-in protections at the root of each writable tree, and of the home directory when one of them holds it. */
export function builtInProtections(input: ProtectionInput): readonly PathRule[] {
  const [workspace = '', ...others] = input.roots;
  const names = PROTECT.filter((entry) => !input.lifted.has(entry.name));
  const homes = others.some((root) => isWithin(input.home, root)) ? [input.home] : [];
  const more = [...new Set([...others, ...homes])];
  return [
    ...names.map((entry) => rule(entry, workspace, `builtin.protect:${entry.name}`)),
    ...more.flatMap((root) =>
      names.map((entry) => rule(entry, root, `builtin.protect:${path.join(root, entry.name)}`)),
    ),
  ];
}

/** Glovebox's own files: who could write them could trust themselves, who could read them would learn of other sandboxes. */
export function builtInDenials(own: readonly string[]): readonly PathRule[] {
  return own.map((dir) => ({
    id: `builtin.deny:${dir}`,
    path: dir,
    glob: false,
    optional: true,
    origin: { layer: 'built-in', why: 'policies, trust and records of Glovebox itself' },
  }));
}

/** Names of the built-in protections that a policy lifted. */
export function liftedNames(unprotect: readonly PathRule[], workspace: string): ReadonlySet<string> {
  return new Set(unprotect.map((entry) => path.relative(workspace, entry.path)));
}

function rule(entry: ProtectedName, root: string, id: string): PathRule {
  return {
    id,
    path: path.join(root, entry.name),
    glob: false,
    optional: true,
    origin: { layer: 'built-in', why: entry.why },
  };
}
