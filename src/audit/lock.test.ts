import { linkSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { acquireLock } from './lock.ts';

// Processes that write at once and are killed at any moment: writer.test.ts. Here each step of the queue by itself.

let dir = '';
const servers: Other[] = [];

beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'glovebox-lock-'));
});
afterEach(() => {
  for (const server of servers.splice(0)) server.leave();
  rmSync(dir, { recursive: true });
});

/** Another process, as far as its socket shows. */
interface Other {
  /** Connections so far. */
  readonly asked: () => number;
  /** As when it dies: the file stays. */
  readonly leave: () => void;
}

async function other(name: string): Promise<Other> {
  const sockets = new Set<Socket>();
  let asked = 0;
  const server: Server = createServer((socket) => {
    asked++;
    sockets.add(socket.on('error', () => undefined));
  });
  const made = path.join(dir, 'made');
  await new Promise<void>((resolve) => server.listen(made, resolve));
  // Closing removes the name it was made under, and no other.
  linkSync(made, path.join(dir, name));
  rmSync(made);
  const leave = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  servers.push({ asked: () => asked, leave });
  return { asked: () => asked, leave };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}

const files = (): string[] => readdirSync(dir).sort();
const tickets = (): number => files().filter((name) => name.startsWith('ticket-')).length;

async function inTurn(order: number[], i: number): Promise<void> {
  const lock = await acquireLock(dir, 50_000);
  order.push(i);
  lock.release();
}

describe('the lock', () => {
  test('is held by one at a time, and leaves nothing behind', async () => {
    let holders = 0;
    const seen: number[] = [];
    const one = async (): Promise<void> => {
      const lock = await acquireLock(dir, 50_000);
      seen.push(++holders);
      await new Promise((resolve) => setImmediate(resolve));
      holders--;
      lock.release();
      lock.release();
    };
    await Promise.all(Array.from({ length: 60 }, one));
    expect(seen).toEqual(Array(60).fill(1));
    expect(files()).toEqual([]);
  });

  test('goes to whoever came first', async () => {
    const first = await acquireLock(dir);
    const order: number[] = [];
    const waiting: Promise<void>[] = [];
    for (let i = 0; i < 8; i++) {
      waiting.push(inTurn(order, i));
      await until(() => tickets() === i + 2);
    }
    first.release();
    await Promise.all(waiting);
    expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  test('is asked for by the next in the queue alone, however many wait', async () => {
    const holder = await other('ticket-1-aa');
    const waiting = Array.from({ length: 10 }, () => acquireLock(dir, 50_000));
    await until(() => tickets() === 11 && holder.asked() > 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(holder.asked()).toBe(1);
    holder.leave();
    await Promise.all(waiting.map(async (one) => (await one).release()));
    expect(tickets()).toBe(0);
  });

  test('passes over the dead, and takes away what they left', async () => {
    for (const name of ['ticket-3-aa', 'ticket-9-bb', 'choosing-cc', 'new-dd']) (await other(name)).leave();
    expect(files()).toHaveLength(4);
    const lock = await acquireLock(dir);
    expect(files()).toEqual([expect.stringMatching(/^ticket-10-[0-9a-f]{16}$/)]);
    lock.release();
  });

  test('waits for whoever is choosing, who may get the number before', async () => {
    const chooser = await other('choosing-aa');
    let got = false;
    const waiting = acquireLock(dir, 50_000).then((lock) => {
      got = true;
      return lock;
    });
    await until(() => chooser.asked() > 2);
    renameSync(path.join(dir, 'choosing-aa'), path.join(dir, 'ticket-1-00'));
    const before = chooser.asked();
    await until(() => chooser.asked() > before);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(got).toBe(false);
    chooser.leave();
    (await waiting).release();
    expect(files()).toEqual([]);
  });

  test('of equal numbers the lower name comes first', async () => {
    const holder = await other('ticket-8-aa');
    const before = await other('ticket-8-bb');
    const waiting = acquireLock(dir, 50_000);
    await until(() => before.asked() === 1);
    expect(holder.asked()).toBe(0);
    before.leave();
    await until(() => holder.asked() === 1);
    holder.leave();
    (await waiting).release();
    expect(files()).toEqual([]);
  });

  test.each(['ticket-1-aa', 'choosing-aa'])('is given up in time behind %s', async (name) => {
    await other(name);
    await expect(acquireLock(dir, 30)).rejects.toMatchObject({ code: 'E_AUDIT_UNWRITABLE' });
    expect(files()).toEqual([name]);
  });

  test('a directory that is not there', async () => {
    await expect(acquireLock(path.join(dir, 'none'))).rejects.toThrow('ENOENT');
  });
});
