import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RELAY_KIND } from '../agent/numbers.ts';
import type { ListenerSpec } from './contract.ts';
import { createRelayServer, Relay, type Arrival, type RelayTarget } from './relay.ts';

const LISTENERS: readonly ListenerSpec[] = [
  { id: 0, transport: 'udp', port: 53, role: 'dns' },
  { id: 1, transport: 'tcp', port: 443, role: 'transparent' },
];

interface Accepted {
  readonly spec: ListenerSpec;
  readonly socket: Socket;
  readonly arrival: Arrival;
}

/** The other end of a relay, as a guest's agent has it. */
class Guest {
  readonly #dir = mkdtempSync(path.join(tmpdir(), 'relay-'));
  readonly #server: Server = createRelayServer();
  readonly #sockets: Socket[] = [];
  readonly accepted: Accepted[] = [];
  relay = this.#relayWith({});

  /** From here on an ssh agent is lent. */
  lend(sshAgent: (socket: Socket) => void): void {
    this.relay = this.#relayWith({ sshAgent });
  }

  #relayWith(more: Pick<RelayTarget, 'sshAgent'>): Relay {
    return new Relay(LISTENERS, {
      accept: (spec, socket, arrival) => this.accepted.push({ spec, socket, arrival }),
      answer: (message) => (message.length === 0 ? undefined : Buffer.from(message).reverse()),
      handshakeMs: 200,
      connections: 4,
      ...more,
    });
  }

  async listen(): Promise<void> {
    this.#server.on('connection', (socket) => this.relay.serve(socket));
    await new Promise<void>((resolve) => this.#server.listen(this.#path, resolve));
  }

  async open(...parts: readonly Uint8Array[]): Promise<Socket> {
    const socket = connect(this.#path);
    this.#sockets.push(socket);
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    for (const part of parts) socket.write(part);
    return socket;
  }

  async close(): Promise<void> {
    this.relay.close();
    for (const { socket } of this.accepted) socket.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#dir, { recursive: true });
  }

  get #path(): string {
    return path.join(this.#dir, 'gateway.sock');
  }
}

interface PrefaceFields {
  readonly kind: number;
  readonly port?: number;
  readonly id?: number;
  readonly address?: readonly number[];
}

function preface({ kind, port = 0, id = 0, address = [] }: PrefaceFields): Buffer {
  const bytes = Buffer.alloc(24);
  bytes.writeUInt8(kind, 0);
  bytes.writeUInt8(address.length === 16 ? 6 : address.length, 1);
  bytes.writeUInt16BE(port, 2);
  bytes.writeUInt32LE(id, 4);
  bytes.set(address, 8);
  return bytes;
}

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    if (socket.closed) resolve();
    else socket.once('close', () => resolve());
    socket.resume();
  });

const data = (socket: Socket): Promise<Buffer> =>
  new Promise((resolve) => socket.once('data', (chunk: Buffer) => resolve(chunk)).resume());

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(condition()).toBe(true);
}

describe('the relay of a guest', () => {
  const guests: Guest[] = [];
  const guest = (): Guest => guests[0] ?? expect.fail('no guest');
  beforeEach(async () => {
    const made = new Guest();
    await made.listen();
    guests.push(made);
  });
  afterEach(async () => guests.pop()?.close());

  it('finds the listener and the address that were meant, and loses no byte behind the preface', async () => {
    const mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 18, 0, 9];
    const client = await guest().open(
      preface({ kind: RELAY_KIND.tcp, port: 443, id: 7, address: mapped }),
      Buffer.from('hello'),
    );
    await until(() => guest().accepted.length === 1);
    const { spec, socket, arrival } = guest().accepted[0] ?? expect.fail('nothing accepted');
    expect([spec.id, arrival]).toEqual([1, { address: '198.18.0.9', port: 443 }]);
    expect((await data(socket)).toString()).toBe('hello');
    socket.write('back');
    expect((await data(client)).toString()).toBe('back');
  });

  it('reads a preface in pieces', async () => {
    const whole = preface({ kind: RELAY_KIND.tcp, port: 443, address: [1, 2, 3, 4] });
    const client = await guest().open(whole.subarray(0, 3));
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.write(whole.subarray(3));
    await until(() => guest().accepted.length === 1);
    expect(guest().accepted[0]?.arrival.address).toBe('1.2.3.4');
  });

  it.each([
    ['a port without a listener', preface({ kind: RELAY_KIND.tcp, port: 22, address: [1, 2, 3, 4] })],
    ['another transport', preface({ kind: RELAY_KIND.tcp, port: 53, address: [1, 2, 3, 4] })],
    ['no address', preface({ kind: RELAY_KIND.tcp, port: 443 })],
    ['a wish for an ssh agent that nobody lends', preface({ kind: RELAY_KIND.sshAgent })],
    ['an unknown kind', preface({ kind: 9, port: 443, address: [1, 2, 3, 4] })],
    ['a preface that does not come', Buffer.of(1)],
  ])('closes a connection with %s', async (_, bytes) => {
    const client = await guest().open(bytes);
    await closed(client);
    expect(guest().accepted).toEqual([]);
  });

  it('hands on what is meant for the ssh agent, where one is lent, with all that follows', async () => {
    const lent: Socket[] = [];
    guest().lend((socket) => lent.push(socket));
    await guest().open(preface({ kind: RELAY_KIND.sshAgent }), Buffer.from('question'));
    await until(() => lent.length === 1);
    const [socket = expect.fail('no connection')] = lent;
    expect(String(await data(socket))).toBe('question');
    expect(guest().accepted).toEqual([]);
    // Also while it is not read: nobody waits for its end.
    socket.pause();
    guest().relay.close();
    await until(() => socket.closed);
  });

  it('answers datagrams, several in one piece, each with its token', async () => {
    const client = await guest().open(
      preface({ kind: RELAY_KIND.udp, port: 53, address: [0, 0, 0, 0] }),
      Buffer.of(0, 2, 0, 1, 10, 11, 0, 0, 0, 2, 0, 1, 0, 3, 12),
    );
    const answers = await data(client);
    expect([...answers]).toEqual([0, 2, 0, 1, 11, 10, 0, 1, 0, 3, 12]);
  });

  it('tells the control connection of a reset before the connection ends', async () => {
    const control = await guest().open(preface({ kind: RELAY_KIND.control }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    const client = await guest().open(
      preface({ kind: RELAY_KIND.tcp, port: 443, id: 0x0102, address: [1, 2, 3, 4] }),
    );
    await until(() => guest().accepted.length === 1);
    const said = data(control);
    guest().accepted[0]?.socket.resetAndDestroy();
    expect([...(await said)]).toEqual([2, 1, 0, 0]);
    await closed(client);
  });

  it('has one control connection, and bounds those that say nothing', async () => {
    await guest().open(preface({ kind: RELAY_KIND.control }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await closed(await guest().open(preface({ kind: RELAY_KIND.control })));
    const silent = await Promise.all([1, 2, 3].map(() => guest().open()));
    await new Promise((resolve) => setTimeout(resolve, 20));
    await closed(await guest().open());
    expect(silent.map((socket) => socket.closed)).toEqual([false, false, false]);
  });
});
