import { randomBytes } from 'node:crypto';
import { closeSync, constants, linkSync, openSync, readdirSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';

/**
 * Mutual exclusion between processes that share a directory, released by the kernel when the holder dies.
 *
 * Node offers no file locks. Holding the lock is listening on a unix socket `lock-<n>` in the directory: a connection to a
 * dead holder is refused, and a waiter's connection closes at the moment the holder lets go, so nobody polls. Socket files
 * reach across network namespaces and containers (abstract names do not), and only the owner of the directory gets at them.
 *
 * A socket listens under a private name before link(2) gives it a number: so whoever is refused at a numbered one knows that
 * its owner is dead for good. A contender announces itself by that link and only then looks at all the others: of two, at
 * least the one that looked last sees the other. The higher number steps back, the lower one waits for the higher to go.
 * A numbered file is removed by its owner, or by the holder once its owner is dead; nobody else may judge.
 */
export interface HeldLock {
  release(): void;
}

const NUMBERED = /^lock-(\d+)$/;
const PRIVATE = /^new-[0-9a-f]+$/;
/** Waiters at once; more are told EAGAIN and come again. */
const BACKLOG = 4096;

/** @throws E_AUDIT_UNWRITABLE after `timeoutMs`, or when the file system has no sockets. */
export async function acquireLock(dir: string, timeoutMs: number = CAPS.auditLockMs): Promise<HeldLock> {
  // Through the descriptor, a name fits into sockaddr_un however deep the directory lies (unix(7): 108 bytes).
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  const place: Place = { base: `/proc/self/fd/${fd}`, deadline: Date.now() + timeoutMs };
  try {
    for (;;) {
      const own = await attempt(place);
      if (own !== undefined) return held(own, fd);
      if (Date.now() > place.deadline) throw tooLong();
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

interface Place {
  readonly base: string;
  readonly deadline: number;
}

/** A numbered socket of this process. */
interface Announced {
  readonly number: number;
  withdraw(): void;
}

function held(own: Announced, fd: number): HeldLock {
  let open = true;
  return {
    release(): void {
      if (!open) return;
      open = false;
      own.withdraw();
      closeSync(fd);
    },
  };
}

/** One round: the lock, or undefined once it is worth trying again. */
async function attempt(place: Place): Promise<Announced | undefined> {
  for (const other of numbers(place.base)) {
    if (await waitWhileAlive(place, other)) return undefined;
  }
  const own = await announce(place.base);
  if (own === undefined) return undefined;
  try {
    if (await prevail(place, own.number)) return own;
  } catch (error) {
    own.withdraw();
    throw error;
  }
  own.withdraw();
  return undefined;
}

/** True once nobody else is alive; false when somebody with a lower number is. */
async function prevail(place: Place, own: number): Promise<boolean> {
  let names: readonly string[] = [];
  for (let again = true; again;) {
    again = false;
    names = readdirSync(place.base);
    for (const other of numbersOf(names)) {
      if (other < own && (await isAlive(place, `lock-${other}`))) return false;
      if (other > own && (await waitWhileAlive(place, other))) again = true;
    }
  }
  await cleanDead(place, own, names);
  return true;
}

/**
 * Removes what the dead left. Preconditions: the lock is held, so nobody else removes a file between the look and the removal.
 * A private socket that is about to listen may go too: its owner then finds nothing to link and tries again.
 */
async function cleanDead(place: Place, own: number, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (name === `lock-${own}` || !(NUMBERED.test(name) || PRIVATE.test(name))) continue;
    if (!(await isAlive(place, name))) remove(`${place.base}/${name}`);
  }
}

const numbers = (base: string): number[] => numbersOf(readdirSync(base));

function numbersOf(names: readonly string[]): number[] {
  const found = names.flatMap((name) => NUMBERED.exec(name)?.[1] ?? []);
  return found.map(Number).sort((a, b) => a - b);
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** Listens under a private name, then takes a number; undefined when somebody else took it first. */
async function announce(base: string): Promise<Announced | undefined> {
  const name = `${base}/new-${randomBytes(8).toString('hex')}`;
  const listener = await listen(name);
  const number = (numbers(base).at(-1) ?? 0) + 1;
  const numbered = `${base}/lock-${number}`;
  try {
    linkSync(name, numbered);
    remove(name);
  } catch (error) {
    listener.close();
    const code = systemCode(error);
    if (code === 'EEXIST' || code === 'ENOENT') return undefined;
    throw unusable(error);
  }
  return {
    number,
    withdraw(): void {
      remove(numbered);
      listener.close();
    },
  };
}

function listen(name: string): Promise<{ close(): void }> {
  return new Promise((resolve, reject) => {
    const waiting = new Set<Socket>();
    const server = createServer((socket) => {
      waiting.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => waiting.delete(socket));
    });
    server.once('error', (error) => reject(unusable(error)));
    const close = (): void => {
      server.close();
      // Connections that were accepted outlive the server: the waiters behind them want to know.
      for (const socket of waiting) socket.destroy();
    };
    server.listen({ path: name, backlog: BACKLOG }, () => resolve({ close }));
  });
}

async function isAlive(place: Place, name: string): Promise<boolean> {
  const socket = await reach(`${place.base}/${name}`);
  socket?.destroy();
  return socket !== undefined;
}

/** Waits until a contender lets go or dies; false at once when it is dead or gone already. */
async function waitWhileAlive(place: Place, number: number): Promise<boolean> {
  const socket = await reach(`${place.base}/lock-${number}`);
  if (socket === undefined) return false;
  const left = place.deadline - Date.now();
  if (left <= 0) {
    socket.destroy();
    throw tooLong();
  }
  await closed(socket, left);
  return true;
}

function closed(socket: Socket, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) {
      // Its close event is past: the backlog was full, or the holder let go while we connected.
      setTimeout(resolve, 1);
      return;
    }
    const timer = setTimeout(() => {
      socket.destroy();
      reject(tooLong());
    }, timeoutMs);
    socket.resume();
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

/** A connection to a holder, or undefined when nobody listens there. */
function reach(name: string): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path: name });
    socket.once('connect', () => resolve(socket));
    socket.once('error', (error) => {
      const code = systemCode(error);
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(undefined);
      // The backlog is full, or the holder let go while we connected: it was alive a moment ago.
      else if (code === 'EAGAIN' || code === 'ECONNRESET') resolve(socket);
      else reject(unusable(error));
    });
  });
}

function tooLong(): GloveboxError {
  return new GloveboxError('E_AUDIT_UNWRITABLE', {
    what: 'the audit log stays locked by another process',
    next: 'Look for a stopped `glovebox` process (state T in ps) and continue or end it.',
  });
}

function unusable(error: unknown): GloveboxError {
  return new GloveboxError('E_AUDIT_UNWRITABLE', {
    what: 'cannot lock the audit log',
    why: systemCode(error) ?? String(error),
    cause: error,
  });
}
