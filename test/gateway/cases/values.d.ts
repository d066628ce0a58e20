import type { Strings } from './expand.ts';
export declare const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
export declare function randomText(length: number, letters?: string): string;
/** What the scanner is about. */
export declare function fixtureStrings(): Strings;
export declare function signedJwt(): string;
/** Addresses and tokens of the bench, and a correct answer to the key of RFC 6455. */
export declare function benchStrings(): Strings;
/** A secret of the shape that a credential's name suggests. */
export declare function secretFor(name: string): string;
