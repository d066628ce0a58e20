import type { RequestParts } from './places.ts';
import { labelOf } from './places.ts';
import type { Known, Recognizer } from './recognizer.ts';
import type { Spot } from './schemes.ts';

/** A range of a request and what goes there. */
export interface Edit {
  readonly spot: Spot;
  readonly text: string;
}

/** The same request with every range replaced. Ranges do not overlap. */
export function applyEdits(
  request: RequestParts,
  edits: readonly Edit[],
): { target: string; headers: string[] } {
  const headers = [...request.headers];
  let { target } = request;
  // From the back, so that earlier ranges keep their places.
  for (const { spot, text } of [...edits].sort((a, b) => b.spot.start - a.spot.start)) {
    const put = (value: string): string => value.slice(0, spot.start) + text + value.slice(spot.end);
    if (spot.at === 'target') target = put(target);
    else headers[spot.index] = put(headers[spot.index] ?? '');
  }
  return { target, headers };
}

/** Something known in the head of a request, and where. */
export function findInHead(
  recognizer: Recognizer,
  request: RequestParts,
  ignore?: (known: Known) => boolean,
): { readonly known: Known; readonly place: string } | undefined {
  const all = recognizer.findText(`${request.target}\n${request.headers.join('\n')}`, ignore);
  if (all === undefined) return undefined;
  for (const { place, text } of placesOf(request)) {
    const known = recognizer.findText(text, ignore);
    if (known?.kind === all.kind) return { known, place };
  }
  // Split over two parts: nobody writes that by accident, and it is refused like the rest.
  return { known: all, place: 'the request' };
}

function* placesOf(request: RequestParts): Generator<{ readonly place: string; readonly text: string }> {
  const mark = request.target.indexOf('?');
  yield { place: 'the path', text: mark === -1 ? request.target : request.target.slice(0, mark) };
  if (mark !== -1) yield { place: 'the query', text: request.target.slice(mark + 1) };
  for (let i = 0; i + 1 < request.headers.length; i += 2) {
    const name = request.headers[i] ?? '';
    yield { place: 'the name of a header', text: name };
    yield { place: labelOf('header', name), text: request.headers[i + 1] ?? '' };
  }
}
