const [QUOTE, COMMA, BACKSLASH, BRACKET, BRACE] = [0x22, 0x2c, 0x5c, 0x5b, 0x7b];

/**
 * How many values a JSON text holds, counted without making any: ten megabytes of `[` are a hundred times that in objects, and seconds of
 * work, once they are read. At most `most` and one; of what is no JSON some number.
 */
export function countValues(text: Buffer, most: number): number {
  let count = 1;
  for (let at = 0; at < text.length && count <= most; at++) {
    const byte = text[at];
    if (byte === QUOTE) at = endOfString(text, at + 1);
    else if (byte === COMMA || byte === BRACKET || byte === BRACE) count += 1;
  }
  return count;
}

/** Where the string that begins at `start` has its closing quote, or the end of the text. */
function endOfString(text: Buffer, start: number): number {
  for (let at = text.indexOf(QUOTE, start); at >= 0; at = text.indexOf(QUOTE, at + 1)) {
    let before = at;
    while (before > start && text[before - 1] === BACKSLASH) before -= 1;
    if ((at - before) % 2 === 0) return at;
  }
  return text.length;
}
