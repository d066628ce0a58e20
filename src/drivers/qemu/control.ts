import { closeSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import path from 'node:path';
import { MachineKeeper } from '../../agent/keeper.ts';
import { CONTROL_SOCKET, KEEPER_SOCKET } from './layout.ts';
import { QmpClient } from './qmp.ts';

/** Where QEMU connects to, once, before any of the guest's runs. */
export interface Control {
  /** QEMU's first connection; there is no second. */
  readonly client: Promise<QmpClient>;
  /** The machine's own: its keeper answers once a sandbox runs. */
  readonly keeper: Promise<MachineKeeper>;
  close(): void;
}

/** Resolves when QEMU can connect. */
export async function openControl(sockets: string): Promise<Control> {
  const [control, port] = await Promise.all([
    acceptOne(sockets, CONTROL_SOCKET),
    acceptOne(sockets, KEEPER_SOCKET),
  ]);
  const close = (): void => {
    control.close();
    port.close();
  };
  const client = control.socket.then((socket) => new QmpClient(socket));
  const keeper = port.socket.then((socket) => new MachineKeeper(socket));
  return { client, keeper, close };
}

/** A socket that one connects to, who has no name afterwards. */
export interface Accepting {
  readonly socket: Promise<Socket>;
  /** Ends both the waiting and the connection. */
  close(): void;
}

/** Resolves when somebody can connect. */
export async function acceptOne(directory: string, name: string): Promise<Accepting> {
  const file = path.join(directory, name);
  const server = createServer();
  const socket = new Promise<Socket>((resolve) => {
    server.once('connection', (connected) => {
      server.close();
      rmSync(file, { force: true });
      resolve(connected);
    });
  });
  await listenIn(server, directory, name);
  // A machine that ends takes its last order with it.
  server.unref();
  const close = (): void => {
    server.close();
    void socket.then((connected) => connected.destroy());
  };
  return { socket, close };
}

/** Whatever the length of the directory's name: a socket's is limited (unix(7), sun_path). */
async function listenIn(server: Server, directory: string, name: string): Promise<void> {
  const fd = openSync(directory, 'r');
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(`/proc/self/fd/${fd}/${name}`, resolve);
    });
  } finally {
    closeSync(fd);
  }
}
