import type { RawHeaders } from '../net/http-head.ts';
import { bearsCredential, foldName } from './places.ts';

/** How the fields of a body are written, as far as their names are to be read. */
export type FormKind = 'urlencoded' | 'multipart';

/** A form, none, or why it cannot be read. */
export type FormHead = { readonly kind: FormKind } | { readonly why: string } | undefined;

/** What stands against a body; `name` is the field's. */
export type FieldProblem = { readonly name: string } | { readonly why: string };

/** Longest name of a field, and longest head of a part; people and programs write a tenth of it. */
const NAME_MAX = 4096;
const PART_HEAD_MAX = 8192;

/** Codings in which ASCII is itself. In another one (UTF-16, UTF-7) the names would be others than those that are read here. */
const CHARSET = /^"?(?:utf-?8|us-ascii|iso-8859-1[15]?|windows-1252)"?$/i;

/** Tells a form by the head. Several types, or one that only some origins read, count as what each of them says. */
export function formHead(headers: RawHeaders): FormHead {
  const types = valuesOf(headers, 'content-type');
  const kinds = types.flatMap(kindOf);
  const [kind] = kinds;
  if (kind === undefined) return undefined;
  if (types.length > 1) return { why: 'its type is given more than once' };
  const codings = valuesOf(headers, 'content-encoding').flatMap((value) => value.split(','));
  if (codings.some((coding) => !/^(?:identity)?$/i.test(coding.trim()))) return { why: 'it is packed' };
  const charsets = [...(types[0] ?? '').matchAll(/;\s*charset\s*=\s*([^;]*)/gi)];
  return charsets.every(([, charset = '']) => CHARSET.test(charset.trim()))
    ? { kind }
    : { why: 'its charset is an unusual one' };
}

function kindOf(type: string): FormKind[] {
  if (/application\/x-www-form-urlencoded/i.test(type)) return ['urlencoded'];
  return /multipart\//i.test(type) ? ['multipart'] : [];
}

/** Looks at the names of the fields of a form as it passes. The first problem is the last call. Takes linear time. */
export interface FieldWatch {
  update(chunk: Uint8Array): FieldProblem | undefined;
}

export function watchFields(kind: FormKind, listed: ReadonlySet<string>): FieldWatch {
  return kind === 'urlencoded' ? new UrlencodedWatch(listed) : new MultipartWatch(listed);
}

/** `name=value` pieces between "&" and ";", which some origins take for a delimiter too. */
class UrlencodedWatch implements FieldWatch {
  readonly #listed: ReadonlySet<string>;
  #name = '';
  /** Behind the "=" of a name; `bears`: which speaks of a credential. */
  #value: { readonly bears: boolean } | undefined;

  constructor(listed: ReadonlySet<string>) {
    this.#listed = listed;
  }

  update(chunk: Uint8Array): FieldProblem | undefined {
    const text = latin1(chunk);
    const delimiter = /[&;]/g;
    for (let at = 0; at < text.length;) {
      if (this.#value === undefined) {
        at = this.#readName(text, at);
        if (this.#name.length > NAME_MAX) return { why: 'a name in it is too long' };
        continue;
      }
      delimiter.lastIndex = at;
      const end = delimiter.exec(text)?.index ?? text.length;
      if (end > at && this.#value.bears) return { name: this.#name };
      if (end < text.length) this.#forget();
      at = end + 1;
    }
    return undefined;
  }

  /** Up to the end of the name, or of the text; answers where to go on. */
  #readName(text: string, from: number): number {
    const stop = /[=&;]/g;
    stop.lastIndex = from;
    const end = stop.exec(text)?.index ?? text.length;
    this.#name += text.slice(from, Math.min(end, from + NAME_MAX + 1));
    if (text[end] === '=') this.#value = { bears: bearsCredential(this.#name, this.#listed) };
    else if (end < text.length) this.#forget();
    return end + 1;
  }

  #forget(): void {
    this.#name = '';
    this.#value = undefined;
  }
}

const DISPOSITION = 'content-disposition';
/** Parameters of that header that name a field, wherever readers of quotes see one begin; with a star, in a coding of RFC 2231. */
const PARAMETER = /(?:^|[;\s"'])name\s*(?:(\*[^=;\s]*)\s*)?=\s*/gi;
const PART_NAMES_MAX = 4;

/** Every Content-Disposition in the body, wherever the parts begin: boundaries are read differently, and a name stands nowhere else. */
class MultipartWatch implements FieldWatch {
  readonly #listed: ReadonlySet<string>;
  #pending = '';

  constructor(listed: ReadonlySet<string>) {
    this.#listed = listed;
  }

  update(chunk: Uint8Array): FieldProblem | undefined {
    const text = this.#pending + latin1(chunk);
    const header = /content-disposition/gi;
    let open = Math.max(0, text.length - DISPOSITION.length + 1);
    for (let found = header.exec(text); found !== null; found = header.exec(text)) {
      const end = headerEnd(text, header.lastIndex);
      if ((end ?? text.length) - found.index > PART_HEAD_MAX)
        return { why: 'a head of a part of it is too long' };
      if (end === undefined) {
        open = found.index;
        break;
      }
      const problem = this.#judge(text.slice(header.lastIndex, end));
      if (problem !== undefined) return problem;
      header.lastIndex = end;
    }
    this.#pending = text.slice(open);
    return undefined;
  }

  #judge(parameters: string): FieldProblem | undefined {
    const unfolded = parameters.replace(/\r?\n[ \t]+/g, ' ');
    const found = [...unfolded.matchAll(PARAMETER)];
    if (found.length > PART_NAMES_MAX) return { why: 'a part of it has more than one name' };
    for (const { 0: parameter, 1: extended, index } of found) {
      if (extended !== undefined) return { why: 'a name in it is written in another coding' };
      const texts = spellings(unfolded.slice(index + parameter.length));
      const name = texts.find((text) => bearsCredential(text, this.#listed));
      if (name !== undefined) return { name };
    }
    return undefined;
  }
}

/** The value of a parameter: quoted, with escapes or without, and bare. */
function spellings(text: string): string[] {
  const [, quoted] = /^"((?:[^"\\]|\\.)*)"/s.exec(text) ?? [];
  const [, bare = ''] = /^["']?([^"';\r\n]*)/.exec(text) ?? [];
  return quoted === undefined ? [bare.trim()] : [bare.trim(), quoted, quoted.replace(/\\(.)/gs, '$1')];
}

/** Where a header field ends: a line break with no blank behind it (RFC 5322 §2.2.3). Undefined: not in this text. */
function headerEnd(text: string, from: number): number | undefined {
  const found = /\n[^ \t]/.exec(text.slice(from, from + PART_HEAD_MAX + 2));
  return found === null ? undefined : from + found.index;
}

/** Values of a header under every name that some origin folds to it (RFC 3875 §4.1.18). */
function valuesOf(headers: RawHeaders, name: string): string[] {
  return headers.flatMap((value, i) =>
    i % 2 === 1 && foldName(headers[i - 1] ?? '') === name ? [value] : [],
  );
}

function latin1(chunk: Uint8Array): string {
  return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength).toString('latin1');
}
