import { inspect } from 'node:util';

/** What a value can be shown as; keys as the host knows them. */
export type Bundle = Record<string, unknown>;

/** The convention of Deno's and other notebook kernels: a method under this symbol answers `{ mime: value }`. */
const DISPLAY = Symbol.for('Jupyter.display');

const NAMES: Readonly<Record<string, string>> = {
  'text/plain': 'text',
  'text/html': 'html',
  'text/markdown': 'markdown',
  'text/latex': 'latex',
  'image/svg+xml': 'svg',
  'image/png': 'png',
  'image/jpeg': 'jpeg',
  'application/pdf': 'pdf',
  'application/json': 'json',
  'application/javascript': 'javascript',
};

const TEXT_CHARACTERS = 1 << 20;

/** Every form of the value: always text, JSON for plain data, and whatever it says of itself, which may take a while. */
export function bundleOf(value: unknown): Bundle | Promise<Bundle> {
  const json = isPlain(value) ? asJson(value) : undefined;
  const known = { text: textOf(value), ...(json === undefined ? {} : { json }) };
  const own = ownBundle(value);
  return own instanceof Promise ? own.then((more) => ({ ...known, ...more })) : { ...known, ...own };
}

/** `{ 'text/html': '<b>' }` as the host's `{ html: '<b>' }`; bytes become base64. */
export function fromMimes(mimes: Readonly<Record<string, unknown>>): Bundle {
  const bundle: Bundle = {};
  const extra: Bundle = {};
  for (const [mime, value] of Object.entries(mimes)) {
    const shown = value instanceof Uint8Array ? Buffer.from(value).toString('base64') : value;
    const name = NAMES[mime];
    if (name === undefined) extra[mime] = shown;
    else bundle[name] = shown;
  }
  return Object.keys(extra).length === 0 ? bundle : { ...bundle, extra };
}

function ownBundle(value: unknown): Bundle | Promise<Bundle> {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return {};
  try {
    const show: unknown = Reflect.get(value, DISPLAY);
    const mimes: unknown = typeof show === 'function' ? Reflect.apply(show, value, []) : undefined;
    if (mimes instanceof Promise) return mimes.then(bundleFrom, () => ({}));
    return bundleFrom(mimes);
  } catch {
    return {};
  }
}

const bundleFrom = (mimes: unknown): Bundle => (isRecord(mimes) ? fromMimes(mimes) : {});

function textOf(value: unknown): string {
  const text = described(value);
  return text.length <= TEXT_CHARACTERS ? text : `${text.slice(0, TEXT_CHARACTERS)}…`;
}

/** A value may bring its own description, and that may fail. */
function described(value: unknown): string {
  try {
    return inspect(value, { depth: 6, maxArrayLength: 1000, maxStringLength: TEXT_CHARACTERS });
  } catch {
    return `<${typeof value}>`;
  }
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

function isPlain(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Array.isArray(value);
}

/** Undefined for what JSON cannot say, or not within the bound. */
function asJson(value: unknown): unknown {
  try {
    const text = JSON.stringify(value);
    return text.length <= TEXT_CHARACTERS ? JSON.parse(text) : undefined;
  } catch {
    return undefined;
  }
}
