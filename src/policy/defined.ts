/** An object without its undefined members. */
export function definedOnly<T extends object>(value: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const copy: { [K in keyof T]?: Exclude<T[K], undefined> } = {};
  return Object.assign(
    copy,
    Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)),
  );
}
