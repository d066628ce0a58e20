import type { AuditEvent, EventKind } from '../contract.ts';

type Data = Readonly<Record<string, unknown>>;

/** How one kind of event looks. `T` is its payload. */
export interface EventSpec<T extends object> {
  readonly kind: EventKind;
  /** When it is written. */
  readonly doc: string;
  /** Every field of the payload with its meaning and unit. */
  readonly fields: Readonly<Record<keyof T & string, string>>;
  /** One line for a person. The data come from a file: nothing about their types is certain. */
  readonly say: (data: Data) => string;
}

/** An event of a kind, its payload checked by the compiler. */
export function auditEvent<T extends object>(spec: EventSpec<T>, data: T, sandbox?: string): AuditEvent {
  return {
    kind: spec.kind,
    data: Object.fromEntries(Object.entries(data)),
    ...(sandbox === undefined ? {} : { sandbox }),
  };
}

/** A field as text, `?` when it is not there. */
export function word(data: Data, field: string): string {
  const value = data[field];
  if (value === undefined || value === null) return '?';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** A field with something before it, or nothing when it is not there. */
export function optional(data: Data, field: string, before: string): string {
  return data[field] === undefined ? '' : `${before}${word(data, field)}`;
}

/** A list of strings, quoted where a shell would need it. */
export function words(value: unknown): string {
  if (!Array.isArray(value)) return '?';
  return value
    .map((item: unknown) => quoted(typeof item === 'string' ? item : JSON.stringify(item)))
    .join(' ');
}

function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
