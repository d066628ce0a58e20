/** Symbolic links in a row that the kernel follows (path_resolution(7)). */
const MOST = 40;

/**
 * Whether a symbolic link at `path` with this text leads out of the tree, through other links too. `links` has those of the whole tree,
 * all paths are relative to its root. One that leads nowhere inside stays inside.
 */
export function leavesTree(path: string, target: string, links: ReadonlyMap<string, string>): boolean {
  if (target.startsWith('/')) return true;
  const at = path.split('/').slice(0, -1);
  const rest = target.split('/').toReversed();
  for (let followed = 0; rest.length > 0;) {
    const part = rest.pop() ?? '';
    if (part === '' || part === '.') continue;
    if (part === '..') {
      if (at.length === 0) return true;
      at.pop();
      continue;
    }
    at.push(part);
    const next = links.get(at.join('/'));
    if (next === undefined) continue;
    if (next.startsWith('/') || ++followed > MOST) return true;
    at.pop();
    rest.push(...next.split('/').toReversed());
  }
  return false;
}
