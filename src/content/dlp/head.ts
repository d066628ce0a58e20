import type { RawHeaders } from '../../net/http-head.ts';

/** A piece of a request's head, and how records call its place. */
export interface HeadPart {
  readonly place: string;
  readonly text: string;
}

/** Between the parts: no token, run or escape reaches across it. */
const BORDER = '\u0001';

/** A name made of a few words; any other could itself be what is looked for, and places are written down. */
const PLAIN_NAME = /^[a-z]{1,24}(?:[-_][a-z]{1,24}){0,5}$/;

/** Path, its segments, query and headers. Names stand before their values, since some patterns know a value by its name. */
export function headParts(target: string, headers: RawHeaders): readonly HeadPart[] {
  const mark = target.indexOf('?');
  const path = mark === -1 ? target : target.slice(0, mark);
  const parts: HeadPart[] = [
    { place: 'path', text: path },
    // "/" is a letter of base64 too: with it in the way no segment would be aligned.
    { place: 'path', text: path.replaceAll('/', ' ') },
  ];
  if (mark !== -1) parts.push({ place: 'query', text: target.slice(mark + 1) });
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = (headers[i] ?? '').toLowerCase();
    parts.push({
      place: PLAIN_NAME.test(name) ? `header:${name}` : 'header',
      text: `${headers[i] ?? ''}: ${headers[i + 1] ?? ''}`,
    });
  }
  return parts;
}

/** All parts in one text, so that a clean head costs one pass. */
export function joinParts(parts: readonly HeadPart[]): Buffer {
  return Buffer.from(parts.map(({ text }) => text).join(BORDER), 'latin1');
}

/** The place of an offset in the joined text. */
export function partAt(parts: readonly HeadPart[], offset: number): string {
  let end = -1;
  for (const { place, text } of parts) {
    end += text.length + BORDER.length;
    if (offset <= end) return place;
  }
  return parts.at(-1)?.place ?? 'path';
}
