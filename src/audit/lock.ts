import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, readdirSync, renameSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, systemCode } from '../base/errors.ts';

/**
 * Mutual exclusion between processes that share a directory, first come, first served, released by the kernel when the holder dies.
 *
 * Node offers no file locks. A place in the queue is a unix socket that listens in the directory as `ticket-<n>-<random>`: a
 * connection to a dead owner is refused, and a waiter's connection closes at the moment the owner lets go, so nobody polls. Socket
 * files reach across network namespaces and containers (abstract names do not), and only the owner of the directory gets at them.
 *
 * Lamport's bakery (1974): a contender says that it is choosing, looks for the highest number, and takes the next. Who has a number
 * waits until all that were choosing by then have theirs, and then for everybody with a lower one: for the last of them, which waits
 * for the one before it, so that each release wakes one process however many wait. No name is used twice, so that whoever is
 * refused at one knows that its owner is dead for good, and may remove it.
 */
export interface HeldLock {
  release(): void;
}

const TICKET = /^ticket-(\d+)-([0-9a-f]+)$/;
/** It listens, and its owner looks for a number: four system calls in one turn. */
const CHOOSING = /^choosing-[0-9a-f]+$/;
/** About to listen. */
const PRIVATE = /^new-[0-9a-f]+$/;
/** Between two looks at somebody who is choosing. */
const CHOOSING_MS = 1;
/** Connections at once; more are told EAGAIN and come again. */
const BACKLOG = 4096;

/** @throws E_AUDIT_UNWRITABLE after `timeoutMs`, or when the file system has no sockets. */
export async function acquireLock(dir: string, timeoutMs: number = CAPS.auditLockMs): Promise<HeldLock> {
  // Through the descriptor, a name fits into sockaddr_un however deep the directory lies (unix(7): 108 bytes).
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY);
  const place: Place = { base: `/proc/self/fd/${fd}`, deadline: Date.now() + timeoutMs };
  try {
    return held(await queueUp(place), fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

interface Place {
  readonly base: string;
  readonly deadline: number;
}

/** A place in the queue. */
interface Ticket {
  readonly name: string;
  readonly number: number;
}

/** One of this process. */
interface OwnTicket extends Ticket {
  leave(): void;
}

function held(own: OwnTicket, fd: number): HeldLock {
  let open = true;
  return {
    release(): void {
      if (!open) return;
      open = false;
      own.leave();
      closeSync(fd);
    },
  };
}

async function queueUp(place: Place): Promise<OwnTicket> {
  let own: OwnTicket | undefined;
  while (own === undefined) {
    if (Date.now() > place.deadline) throw tooLong();
    own = await takeTicket(place.base);
  }
  try {
    await untilAllHaveChosen(place);
    await untilFirst(place, own);
    return own;
  } catch (error) {
    own.leave();
    throw error;
  }
}

/** Those who begin to choose later see our number. */
async function untilAllHaveChosen(place: Place): Promise<void> {
  for (;;) {
    let waits = false;
    for (const name of readdirSync(place.base)) {
      if (!CHOOSING.test(name)) continue;
      if (await isAlive(place, name)) waits = true;
      else remove(`${place.base}/${name}`);
    }
    if (!waits) return;
    if (Date.now() > place.deadline) throw tooLong();
    await new Promise((resolve) => setTimeout(resolve, CHOOSING_MS));
  }
}

/** Preconditions: nobody can take a lower number any more. */
async function untilFirst(place: Place, own: Ticket): Promise<void> {
  for (;;) {
    const names = readdirSync(place.base);
    const before = lastBefore(names, own);
    if (before === undefined) return cleanPrivate(place, names);
    if (!(await waitWhileAlive(place, before))) remove(`${place.base}/${before}`);
  }
}

/** Removes what died before it listened. One that is about to listen may go too: its owner then finds nothing and tries again. */
async function cleanPrivate(place: Place, names: readonly string[]): Promise<void> {
  for (const name of names)
    if (PRIVATE.test(name) && !(await isAlive(place, name))) remove(`${place.base}/${name}`);
}

function ticketsOf(names: readonly string[]): Ticket[] {
  return names.flatMap((name) => {
    const number = TICKET.exec(name)?.[1];
    return number === undefined ? [] : [{ name, number: Number(number) }];
  });
}

/** Equal numbers are ordered by their names. */
function isBefore(one: Ticket, other: Ticket): boolean {
  return one.number === other.number ? one.name < other.name : one.number < other.number;
}

function lastBefore(names: readonly string[], own: Ticket): string | undefined {
  const before = ticketsOf(names).filter((ticket) => isBefore(ticket, own));
  return before.reduce<Ticket | undefined>(
    (last, ticket) => (last === undefined || isBefore(last, ticket) ? ticket : last),
    undefined,
  )?.name;
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** Listens, then chooses a number; undefined when its file was taken for a dead one's. */
async function takeTicket(base: string): Promise<OwnTicket | undefined> {
  const id = randomBytes(8).toString('hex');
  const listener = await listen(`${base}/new-${id}`);
  try {
    renameSync(`${base}/new-${id}`, `${base}/choosing-${id}`);
    const taken = ticketsOf(readdirSync(base)).map((ticket) => ticket.number);
    const number = Math.max(0, ...taken) + 1;
    const name = `ticket-${number}-${id}`;
    renameSync(`${base}/choosing-${id}`, `${base}/${name}`);
    return {
      name,
      number,
      leave(): void {
        remove(`${base}/${name}`);
        listener.close();
      },
    };
  } catch (error) {
    listener.close();
    if (systemCode(error) === 'ENOENT') return undefined;
    throw unusable(error);
  }
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

/** Waits until the owner of a ticket lets go or dies; false at once when it is dead or gone already. */
async function waitWhileAlive(place: Place, name: string): Promise<boolean> {
  const socket = await reach(`${place.base}/${name}`);
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
