/** A kind of value: what it is called, and the value itself when it is one. */
export interface Shape<T> {
  readonly expected: string;
  readonly read: (value: unknown) => T | undefined;
}

/** srt writes a path as text or as `{ path, literal }`. */
export interface SrtPath {
  readonly path: string;
  readonly literal: boolean;
}

/** The text that a refused program is shown. */
export interface HostReason {
  readonly host: string;
  readonly reason: string;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const allText = (values: readonly unknown[]): values is readonly string[] => values.every(isText);

/** A plain mapping. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readPath(value: unknown): SrtPath | undefined {
  if (isText(value)) return { path: value, literal: false };
  if (!isMapping(value)) return undefined;
  const { path, literal = false, ...rest } = value;
  return isText(path) && typeof literal === 'boolean' && Object.keys(rest).length === 0
    ? { path, literal }
    : undefined;
}

/** Every element read, or undefined when one does not fit. */
function readAll<T extends object>(
  value: unknown,
  read: (item: unknown) => T | undefined,
): readonly T[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const items = value.map((item: unknown) => read(item)).filter((item) => item !== undefined);
  return items.length === value.length ? items : undefined;
}

function readReasons(value: unknown): readonly HostReason[] | undefined {
  if (!isMapping(value)) return undefined;
  const found = Object.entries(value).flatMap(([host, reason]) => (isText(reason) ? [{ host, reason }] : []));
  return found.length === Object.keys(value).length ? found : undefined;
}

export const TEXTS: Shape<readonly string[]> = {
  expected: 'a list of text',
  read: (value) => (Array.isArray(value) && allText(value) ? value : undefined),
};
export const PATHS: Shape<readonly SrtPath[]> = {
  expected: 'a list of paths',
  read: (value) => readAll(value, readPath),
};
export const BOOLEAN: Shape<boolean> = {
  expected: 'true or false',
  read: (value) => (typeof value === 'boolean' ? value : undefined),
};
export const NUMBER: Shape<number> = {
  expected: 'a number',
  read: (value) => (typeof value === 'number' ? value : undefined),
};
export const MAPPINGS: Shape<readonly Readonly<Record<string, unknown>>[]> = {
  expected: 'a list of mappings',
  read: (value) => readAll(value, (item) => (isMapping(item) ? item : undefined)),
};
export const REASONS: Shape<readonly HostReason[]> = {
  expected: 'a mapping of hosts to text',
  read: readReasons,
};
export const ANYTHING: Shape<{ readonly written: unknown }> = {
  expected: 'a value',
  read: (written) => ({ written }),
};
