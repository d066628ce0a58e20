import { closeSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { CONTROL_SOCKET } from './layout.ts';
import { QmpClient } from './qmp.ts';

/** Where QEMU connects to, once, before any of the guest's runs. */
export interface Control {
  /** QEMU's first connection; there is no second. */
  readonly client: Promise<QmpClient>;
  close(): void;
}

/** Resolves when QEMU can connect. */
export async function openControl(sockets: string): Promise<Control> {
  const file = path.join(sockets, CONTROL_SOCKET);
  const server = createServer();
  const client = new Promise<QmpClient>((resolve) => {
    server.once('connection', (socket) => {
      server.close();
      rmSync(file, { force: true });
      resolve(new QmpClient(socket));
    });
  });
  await listenIn(server, sockets);
  // A machine that ends takes its last order with it.
  server.unref();
  const close = (): void => {
    server.close();
    void client.then((opened) => opened.close());
  };
  return { client, close };
}

/** Whatever the length of the directory's name: a socket's is limited (unix(7), sun_path). */
async function listenIn(server: Server, directory: string): Promise<void> {
  const fd = openSync(directory, 'r');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`/proc/self/fd/${fd}/${CONTROL_SOCKET}`, resolve);
    });
  } finally {
    closeSync(fd);
  }
}
