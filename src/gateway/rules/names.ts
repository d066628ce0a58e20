/** True when a list of exact names and `prefix*` holds a name; no list holds all. */
export function isListed(list: readonly string[] | undefined, name: string): boolean {
  if (list === undefined) return true;
  return list.some((entry) => (entry.endsWith('*') ? name.startsWith(entry.slice(0, -1)) : name === entry));
}
