import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import { createConnection, type Server, type Socket } from 'node:net';
import { GloveboxError } from '../../base/errors.ts';
import { O_PATH } from '../../base/open-flags.ts';

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

/**
 * Connects to a socket that was made in the jail, and to nothing that a link in its place leads to: whoever has broken into Firecracker can put
 * one there, and the other sockets of the user are no business of his.
 *
 * @throws E_SANDBOX_START for something else, and the system's error where there is nothing
 */
export function connectTo(file: string): Socket {
  const fd = openSync(file, O_PATH | constants.O_NOFOLLOW);
  if (!fstatSync(fd).isSocket()) {
    closeSync(fd);
    throw notASocket();
  }
  const socket = createConnection(`/proc/self/fd/${fd}`);
  let isOpen = true;
  const release = (): void => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  return socket.once('connect', release).once('close', release);
}

function notASocket(): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', {
    what: 'Firecracker put something else where its socket belongs',
    why: 'what is there is no socket, and it is not followed',
  });
}
