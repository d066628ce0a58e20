/** One word for `sh`, whatever is in it. Pure. */
export const shellWord = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
