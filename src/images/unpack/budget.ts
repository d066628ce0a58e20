import { CAPS } from '../../base/caps.ts';
import { tooLarge } from '../invalid.ts';

/** What one image may take, over all of its layers. */
export interface UnpackBounds {
  readonly bytes: number;
  readonly entries: number;
  /** Says whose bounds they are, where that is more than one image's. */
  readonly exceeded?: () => Error;
}

export const IMAGE_BOUNDS: UnpackBounds = { bytes: CAPS.imageBytes, entries: CAPS.imageEntries };

/** Entries that were left out, and why; the first few by name. */
export interface UnpackReport {
  readonly entries: number;
  /** Bytes of file content. */
  readonly bytes: number;
  /** Device nodes, FIFOs and sockets. */
  readonly skipped: readonly { readonly name: string; readonly why: string }[];
  readonly skippedCount: number;
  /** Files whose setuid or setgid bit was dropped. */
  readonly setidDropped: number;
}

/** Counts what an image takes, and ends it when that is too much. */
export class UnpackBudget {
  readonly #bounds: UnpackBounds;
  readonly #skipped: { name: string; why: string }[] = [];
  #entries = 0;
  #nameBytes = 0;
  #bytes = 0;
  #skippedCount = 0;
  #setid = 0;

  constructor(bounds: UnpackBounds = IMAGE_BOUNDS) {
    this.#bounds = bounds;
  }

  /** One more file, directory or link under this path, whoever made it: some directories no entry names. */
  entry(path: string): void {
    if (++this.#entries > this.#bounds.entries)
      throw (
        this.#bounds.exceeded?.() ??
        tooLarge('the image holds too many files', `at most ${this.#bounds.entries}`)
      );
    this.#nameBytes += path.length;
    if (this.#nameBytes > CAPS.imageNamesBytes)
      throw tooLarge('the names in the image take too much', `at most ${CAPS.imageNamesBytes} bytes in all`);
  }

  bytes(count: number): void {
    this.#bytes += count;
    if (this.#bytes > this.#bounds.bytes)
      throw (
        this.#bounds.exceeded?.() ??
        tooLarge('the image unpacks to too much', `at most ${this.#bounds.bytes} bytes`)
      );
  }

  skip(name: string, why: string): void {
    this.#skippedCount++;
    if (this.#skipped.length < CAPS.imageSkippedShown) this.#skipped.push({ name, why });
  }

  setid(): void {
    this.#setid++;
  }

  report(): UnpackReport {
    return {
      entries: this.#entries,
      bytes: this.#bytes,
      skipped: this.#skipped,
      skippedCount: this.#skippedCount,
      setidDropped: this.#setid,
    };
  }
}
