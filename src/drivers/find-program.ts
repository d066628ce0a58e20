import { accessSync, constants } from 'node:fs';
import path from 'node:path';
import { isWithin } from '../base/path-bytes.ts';

/** A program of the host that a driver starts. */
export interface HostProgram {
  readonly name: string;
  /** As people call it. */
  readonly title: string;
  /** Variable that names another one, absolute. */
  readonly variable: string;
  readonly usualPlaces: readonly string[];
}

/** Where it is, or why it is nowhere. */
export type FoundProgram = { readonly path: string } | { readonly why: string };

/**
 * Looks at the variable, the usual places, then the PATH. A directory of the workspace is never looked into: a repository could bring
 * a program of its own.
 */
export function findProgram(program: HostProgram, env: NodeJS.ProcessEnv, workspace: string): FoundProgram {
  const { name, variable } = program;
  const explicit = env[variable];
  if (explicit !== undefined) {
    if (path.isAbsolute(explicit) && isExecutable(explicit)) return { path: explicit };
    return { why: `${variable} names ${explicit}, which is not an executable at an absolute path` };
  }
  const fromPath = (env['PATH'] ?? '')
    .split(':')
    .filter((dir) => path.isAbsolute(dir) && !isWithin(path.normalize(dir), workspace))
    .map((dir) => path.join(dir, name));
  const found = [...program.usualPlaces, ...fromPath].find(isExecutable);
  return found === undefined ? { why: `${program.title} is not installed` } : { path: found };
}

export function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
