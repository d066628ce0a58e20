import { existsSync, lstatSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';
import { isPlaceholder } from '../base/placeholder.ts';
import { readSmallFile, type FileBytes } from './files.ts';

/** Names of a project policy, relative to the workspace; the first that exists counts. */
export const PROJECT_FILES = ['glovebox.yaml', '.glovebox/policy.yaml'] as const;

/** A project policy on disk. Its bytes are hashed here and nowhere parsed. */
export interface ProjectFile {
  /** Real path: the key of its trust. */
  readonly path: string;
  /** Undefined when it is nothing that could be trusted: a link, a pipe, too large. */
  readonly file?: FileBytes;
  /** Why it is left out whatever anybody trusts. */
  readonly unusable?: string;
}

/** Looks for a project policy. Preconditions: `workspace` is a real path. */
export function findProjectFile(workspace: string): ProjectFile | undefined {
  for (const name of PROJECT_FILES) {
    const found = readProjectFile(path.join(workspace, name));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** True when both names exist: only the first counts, which a person should know. */
export function hasSecondProjectFile(workspace: string, used: string): boolean {
  return PROJECT_FILES.some(
    (name) => path.join(workspace, name) !== used && existsSync(path.join(workspace, name)),
  );
}

function readProjectFile(target: string): ProjectFile | undefined {
  try {
    const stat = lstatSync(target, { throwIfNoEntry: false });
    if (stat === undefined || isPlaceholder(stat)) return undefined;
    const file = readSmallFile(target, 'foreign');
    if (file === undefined) return undefined;
    // A directory on the way may be a link; the record of trust is for the place the workspace really holds.
    if (realpathSync.native(target) !== target)
      return { path: target, unusable: `${printablePath(path.dirname(target))} is a symbolic link` };
    return { path: target, file };
  } catch (error) {
    if (error instanceof GloveboxError) return { path: target, unusable: error.why ?? error.what };
    return { path: target, unusable: 'it changed while it was read' };
  }
}
