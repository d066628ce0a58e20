import { realpathSync } from 'node:fs';
import path from 'node:path';
import { isWithin } from '../base/path-bytes.ts';

/** True when a path, or what it leads to, lies in a tree that a sandbox may write. */
export function isUntrusted(file: string, trees: readonly string[]): boolean {
  const names = [path.normalize(file), resolved(file)];
  return trees.some((tree) => names.some((name) => isWithin(name, tree) || isWithin(name, resolved(tree))));
}

/** True when a sandbox could have made the path lead elsewhere: it goes through such a tree, and not straight. */
export function isRedirected(file: string, trees: readonly string[]): boolean {
  return isUntrusted(file, trees) && resolved(file) !== path.normalize(file);
}

function resolved(file: string): string {
  try {
    return realpathSync(file);
  } catch {
    // Not there: nothing will be read or run from it.
    return path.normalize(file);
  }
}
