import type { Keyring } from './keyring.ts';

/** What authorising needs beside the request. */
export interface Desk {
  readonly keyring: Keyring;
  /** Keyed hash of a foreign value. */
  readonly hash: (value: string) => string;
  /** Milliseconds since the epoch, for the dates of signatures. */
  readonly clock: () => number;
}
