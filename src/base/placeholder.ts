/**
 * A placeholder of a running sandbox: an empty directory or a two-byte file whose exact mode is its mark (see
 * docs/design/agent-protocol.md). For whoever looks at the tree meanwhile, nothing is there.
 */
export function isPlaceholder(stat: {
  readonly mode: number;
  readonly size: number;
  isDirectory(): boolean;
  isFile(): boolean;
}): boolean {
  const bits = stat.mode & 0o5777;
  return stat.isDirectory() ? bits === 0o1500 : stat.isFile() && bits === 0o1400 && stat.size <= 2;
}
