/** Values of the strings that rows name. */
export type Strings = Readonly<Record<string, string>>;
/** How the text between placeholders becomes bytes. */
export type Plain = 'utf8' | 'latin1';
/** Expands a text from the inside out; `${len}` is left for later. An unknown placeholder is an error, never passed on. */
export declare function expandBytes(text: string, strings: Strings, plain?: Plain): Buffer;
/** The same, in the pieces that `split` at the top level asks to be sent apart. */
export declare function expandPieces(text: string, strings: Strings, plain?: Plain): Buffer[];
/** A whole HTTP message: `${len}` becomes the length of its body, and a body that `split` cut is sent in two chunks where chunks are declared. */
export declare function expandMessage(text: string, strings: Strings, plain?: Plain): Buffer[];
export declare function base32(data: Buffer): string;
/** One deflated entry with its local header; readers from the front need no directory. */
export declare function zipOf(name: string, data: Buffer, method?: number): Buffer;
