/**
 * Text as a sloppy reader would see it: compatibility forms unified, case removed. For refusals only: what folds to a refused
 * word counts as that word. Upper case first, so that U+017F (long s) and U+00DF meet their plain spellings too.
 */
export function foldCase(text: string): string {
  if (!/[^\x00-\x7f]/.test(text)) return text.toLowerCase();
  return compatible(text).toUpperCase().toLowerCase();
}

/**
 * NFKC in linear time. Putting a run of combining marks in order takes quadratic time, so that a name of a megabyte of them would take
 * minutes: no run is longer than 30 (UAX #15, stream-safe text). No word has such a run, so that nothing folds to it or away from it.
 */
export function compatible(text: string): string {
  return text.replace(/\p{M}{30}/gu, '$&\u034f').normalize('NFKC');
}
