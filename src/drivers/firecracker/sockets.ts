import { closeSync, openSync } from 'node:fs';
import type { Server } from 'node:net';

/** The directory of a machine's sockets, by a name that is short enough however long its own is: unix(7), sun_path. */
export class SocketDirectory {
  readonly #fd: number;
  #closed = false;

  constructor(directory: string) {
    this.#fd = openSync(directory, 'r');
  }

  /** Good until `close`. */
  get path(): string {
    return `/proc/self/fd/${this.#fd}`;
  }

  /** Resolves when somebody can connect. */
  listen(server: Server, name: string): Promise<void> {
    return new Promise((resolve, reject) => {
      server.once('error', reject);
      server.listen(`${this.path}/${name}`, () => {
        server.off('error', reject);
        resolve();
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    closeSync(this.#fd);
  }
}
