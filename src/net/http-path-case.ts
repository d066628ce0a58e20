/**
 * Text as a sloppy reader would see it: compatibility forms unified, case removed. For refusals only: what folds to a refused
 * word counts as that word. Upper case first, so that U+017F (long s) and U+00DF meet their plain spellings too.
 */
export function foldCase(text: string): string {
  if (!/[^\x00-\x7f]/.test(text)) return text.toLowerCase();
  return text.normalize('NFKC').toUpperCase().toLowerCase();
}
