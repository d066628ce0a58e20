import type { Duplex } from 'node:stream';
import { acceptOne, type Accepting } from './control.ts';

/** The socket that copied trees go through, below `PLACES.sockets`. */
export const FILES_SOCKET = 'files';

/** The name by which the guest's first process finds its port for them. */
export const FILES_PORT = 'glovebox.files';

/** Trees of the policy that are copied into the machine's memory, instead of being served. */
export interface CopiedTrees {
  /** Where they stand inside, by number: 0, 1 and so on, with the name of the first. The tree "0" comes back. */
  readonly targets: ReadonlyMap<string, number>;
  /** Room for them and what becomes of them, in the machine's memory; bytes. */
  readonly bytes: number;
  /** Sends them; resolves when they are on their way. */
  start(port: Duplex): Promise<void>;
  /** Resolves when the sandbox has ended and the machine sends what it left behind. */
  readonly leaving: Promise<void>;
}

/** Where QEMU connects to with the port for copied trees; undefined for a machine without any. Resolves when it can. */
export async function openFiles(sockets: string, isWanted: boolean): Promise<Accepting | undefined> {
  if (!isWanted) return undefined;
  const port = await acceptOne(sockets, FILES_SOCKET);
  // Its end is what counts.
  void port.socket.then((socket) => socket.on('error', () => undefined));
  return port;
}

/** Options of QEMU's that make the port. Pure. */
export function filesArgs(sockets: string): readonly string[] {
  return [
    ...['-chardev', `socket,id=files,path=${sockets}/${FILES_SOCKET}`],
    ...['-device', `virtserialport,chardev=files,name=${FILES_PORT}`],
  ];
}
