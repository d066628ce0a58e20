/** A label of this length without hyphens is neither a word, nor a UUID, nor a 32-character id such as clouds give out. */
const LONG_LABEL = 36;
/** Bits per character: English is near 2.7, base32 and hex of random bytes between 3.6 and 4.8 at this length. */
const RANDOM_BITS = 3.4;
/** All labels below a wildcard together; longer prefixes are data, not names. */
const PREFIX_MAX = 120;

/** Why the part of a name below a wildcard (`a.b` of `a.b.example.com`) looks like data carried in a name; undefined if it does not. */
export function dataInName(prefix: string): string | undefined {
  if (prefix.length > PREFIX_MAX) return `${prefix.length} characters below the wildcard`;
  for (const label of prefix.split('.')) {
    for (const word of label.split('-')) {
      if (word.length >= LONG_LABEL && entropy(word) >= RANDOM_BITS)
        return `a random-looking label of ${word.length} characters`;
    }
  }
  return undefined;
}

/** Shannon entropy of a text, bits per character. */
function entropy(text: string): number {
  const counts = new Map<string, number>();
  for (const letter of text) counts.set(letter, (counts.get(letter) ?? 0) + 1);
  let bits = 0;
  for (const count of counts.values()) bits -= (count / text.length) * Math.log2(count / text.length);
  return bits;
}
