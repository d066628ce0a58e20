import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { WS_OPCODE, WsReader, writeWsFrame } from '../../net/ws-frames.ts';
import type { WsFrame, WsOpcode } from '../../net/ws-frames.ts';
import type { WsMessage } from '../../net/ws-frames-message.ts';
import type { Verdict } from '../contract.ts';
import type { TunnelResult } from '../tunnel.ts';
import { HeldBytes } from './held-body.ts';
import { inspectWebSocket } from './ws-inspect.ts';

const MASK = Uint8Array.of(9, 8, 7, 6);
const VERDICT: Verdict = { action: 'deny', rule: 'dlp.canary', reason: 'a canary' };

const open = new Set<Socket>();

afterEach(() => {
  for (const socket of open) socket.destroy();
  open.clear();
});

async function pair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect({
    port: (server.address() as AddressInfo).port,
    host: '127.0.0.1',
    allowHalfOpen: true,
  });
  const [near] = (await once(server, 'connection')) as [Socket];
  server.close();
  for (const socket of [far, near]) open.add(socket.on('error', () => undefined));
  return [far, near];
}

interface Joined {
  readonly client: Peer;
  readonly origin: Peer;
  readonly cuts: Verdict[];
  readonly ended: Promise<TunnelResult>;
}

/** The far end of one side: what it sends and what arrives there. */
class Peer {
  readonly socket: Socket;
  readonly #masks: boolean;
  readonly #frames: WsFrame[] = [];
  readonly #reader: WsReader;

  constructor(socket: Socket, masks: boolean) {
    this.socket = socket;
    this.#masks = masks;
    this.#reader = new WsReader({ masked: !masks, frameBytes: 10_000_000 });
    socket.on('data', (chunk: Buffer) => {
      const { frames, problem } = this.#reader.push(chunk);
      if (problem !== undefined) throw new Error(problem.why);
      this.#frames.push(...frames);
      socket.emit('frames');
    });
  }

  send(opcode: WsOpcode, payload: string | Uint8Array, fin = true): void {
    const frame = { fin, opcode, payload: Buffer.from(payload) };
    this.socket.write(writeWsFrame(frame, this.#masks ? MASK : undefined));
  }

  async next(): Promise<{ opcode: number; fin: boolean; text: string }> {
    while (this.#frames.length === 0) await once(this.socket, 'frames');
    const frame = this.#frames.shift();
    return {
      opcode: frame?.opcode ?? -1,
      fin: frame?.fin ?? false,
      text: frame?.payload.toString('latin1') ?? '',
    };
  }
}

async function join(
  judge: (message: WsMessage) => Verdict | undefined | Promise<Verdict | undefined>,
  upMax = Infinity,
  first?: Uint8Array,
): Promise<Joined> {
  const [clientFar, client] = await pair();
  const [originFar, upstream] = await pair();
  const cuts: Verdict[] = [];
  let up = 0;
  const ended = new Promise<TunnelResult>((resolve) => {
    inspectWebSocket(client, upstream, {
      first,
      meter: {
        up: (bytes) =>
          (up += bytes) > upMax
            ? { action: 'deny', rule: 'api.budget.upload', reason: 'used up' }
            : undefined,
        down: () => undefined,
      },
      halfClosedMs: 1_000,
      room: new HeldBytes(16_000_000),
      limits: { messageBytes: 2_000_000, lingerMs: 300, lingerBytes: 65_536 },
      onMessage: judge,
      onEnd: resolve,
      onCut: (verdict) => cuts.push(verdict),
    });
  });
  return { client: new Peer(clientFar, true), origin: new Peer(originFar, false), cuts, ended };
}

const { text, binary, continuation, close, ping, pong } = WS_OPCODE;

test('relays both ways; a message of the client goes on whole, control frames between', async () => {
  const seen: string[] = [];
  const { client, origin, ended } = await join(({ kind, data }) => {
    seen.push(`${kind} ${data.toString()}`);
    return undefined;
  });
  client.send(text, 'AKIA', false);
  client.send(ping, 'p');
  client.send(continuation, '1234');
  expect(await origin.next()).toEqual({ opcode: ping, fin: true, text: 'p' });
  expect(await origin.next()).toEqual({ opcode: text, fin: true, text: 'AKIA1234' });
  expect(seen).toEqual(['control p', 'text AKIA1234']);
  origin.send(pong, 'p');
  origin.send(binary, 'x', false);
  origin.send(continuation, '');
  expect(await client.next()).toEqual({ opcode: pong, fin: true, text: 'p' });
  expect(await client.next()).toEqual({ opcode: binary, fin: false, text: 'x' });
  expect(await client.next()).toEqual({ opcode: continuation, fin: true, text: '' });
  client.send(close, Uint8Array.of(3, 232));
  expect((await origin.next()).opcode).toBe(close);
  origin.send(close, Uint8Array.of(3, 232));
  expect((await client.next()).opcode).toBe(close);
  origin.socket.end();
  client.socket.end();
  expect(await ended).toMatchObject({ end: 'closed' });
});

test('W14: a verdict closes both sides with 1008, and nothing of the message goes on', async () => {
  const { client, origin, cuts, ended } = await join(({ data }) =>
    data.includes('CANARY') ? VERDICT : undefined,
  );
  client.send(text, 'fine');
  client.send(text, 'CAN', false);
  client.send(continuation, 'ARY');
  client.send(text, 'later');
  expect(await origin.next()).toMatchObject({ text: 'fine' });
  expect(await origin.next()).toEqual({ opcode: close, fin: true, text: '\x03\xf0' });
  expect(await client.next()).toEqual({ opcode: close, fin: true, text: '\x03\xf0dlp.canary: a canary' });
  expect((await ended).end).toBe('error');
  expect(cuts).toEqual([VERDICT]);
});

test('control frames and close reasons are judged too', async () => {
  const { client, cuts, ended } = await join(({ kind }) => (kind === 'control' ? VERDICT : undefined));
  client.send(ping, 'CANARY');
  expect((await client.next()).opcode).toBe(close);
  await ended;
  expect(cuts).toHaveLength(1);
});

test('W11: bytes that are no frames end the connection', async () => {
  const { client, origin, cuts, ended } = await join(
    () => undefined,
    Infinity,
    Buffer.from('GET /v1/files HTTP/1.1\r\n\r\n'),
  );
  expect(await client.next()).toMatchObject({ opcode: close });
  expect(await origin.next()).toMatchObject({ opcode: close });
  await ended;
  expect(cuts[0]).toMatchObject({ rule: 'structural.websocket' });
});

test('an origin that sends masked or compressed frames is cut off', async () => {
  const { client, origin, cuts, ended } = await join(() => undefined);
  origin.socket.write(Buffer.from('c10161', 'hex'));
  expect(await client.next()).toMatchObject({ opcode: close });
  await ended;
  expect(cuts[0]?.reason).toContain('the origin');
});

test('W16: bytes count against the budget', async () => {
  const { client, cuts, ended } = await join(() => undefined, 500_000);
  client.send(binary, Buffer.alloc(1_000_000));
  expect((await client.next()).text).toContain('api.budget.upload');
  expect((await ended).end).toBe('budget');
  expect(cuts).toHaveLength(1);
});

test('a message over the cap is refused before it is held', async () => {
  const { client, ended, cuts } = await join(() => undefined);
  client.socket.write(Buffer.from('82ff000000007fffffff01020304', 'hex'));
  expect((await client.next()).text.slice(0, 2)).toBe('\x03\xf1');
  await ended;
  expect(cuts[0]?.reason).toContain('over 2000000 bytes');
});

test('a slow reader slows the writer', async () => {
  const { client, origin, ended } = await join(() => undefined);
  origin.socket.pause();
  const piece = Buffer.alloc(500_000, 0x61);
  let sent = 0;
  while (sent < 60) {
    client.send(binary, piece);
    sent++;
    if (client.socket.writableLength > 4_000_000) break;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(sent).toBeLessThan(60);
  origin.socket.resume();
  for (let i = 0; i < sent; i++) expect((await origin.next()).text).toHaveLength(piece.length);
  client.socket.destroy();
  expect((await ended).end).toBe('reset');
});

test('a side that vanishes takes the other with it', async () => {
  const { client, origin, ended } = await join(() => undefined);
  origin.socket.resetAndDestroy();
  await new Promise((resolve) => client.socket.once('close', resolve));
  expect((await ended).end).toBe('reset');
});

describe('a verdict that comes later', () => {
  /** Messages that begin with `?` wait until they are answered. */
  function asking(): {
    readonly judge: (message: WsMessage) => Promise<Verdict | undefined> | undefined;
    readonly answer: (verdict?: Verdict) => Promise<void>;
  } {
    const waiting: ((verdict: Verdict | undefined) => void)[] = [];
    return {
      judge: ({ data }) =>
        data.toString().startsWith('?') ? new Promise((resolve) => waiting.push(resolve)) : undefined,
      answer: async (verdict) => {
        for (;;) {
          const next = waiting.shift();
          if (next !== undefined) return next(verdict);
          await new Promise((resolve) => setImmediate(resolve));
        }
      },
    };
  }

  test('messages stay in order, those of one chunk and those that come meanwhile', async () => {
    const { judge, answer } = asking();
    const { client, origin } = await join(judge);
    client.socket.cork();
    for (const message of ['a', '?b', 'c', '?d', 'e']) client.send(text, message);
    client.socket.uncork();
    expect(await origin.next()).toMatchObject({ text: 'a' });
    client.send(text, 'f');
    client.send(ping, 'g');
    origin.send(text, 'back');
    expect(await client.next()).toMatchObject({ text: 'back' });
    await answer();
    for (const message of ['?b', 'c']) expect(await origin.next()).toMatchObject({ text: message });
    await answer();
    for (const message of ['?d', 'e', 'f', 'g']) expect(await origin.next()).toMatchObject({ text: message });
    client.send(text, 'h');
    expect(await origin.next()).toMatchObject({ text: 'h' });
  });

  test('a denial cuts both sides, and what came meanwhile does not go on', async () => {
    const { judge, answer } = asking();
    const { client, origin, cuts, ended } = await join(judge);
    client.send(text, '?b');
    client.send(text, 'later');
    await answer(VERDICT);
    expect(await origin.next()).toMatchObject({ opcode: close });
    expect(await client.next()).toMatchObject({ opcode: close });
    expect((await ended).end).toBe('error');
    expect(cuts).toEqual([VERDICT]);
  });

  test('a client that has said all before the verdict: the message goes on, then the end', async () => {
    const { judge, answer } = asking();
    const { client, origin, ended } = await join(judge);
    client.send(text, '?last');
    client.socket.end();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(origin.socket.readableEnded).toBe(false);
    await answer();
    expect(await origin.next()).toMatchObject({ text: '?last' });
    await once(origin.socket, 'end');
    origin.socket.end();
    expect((await ended).end).toBe('closed');
  });

  test('a client that is gone before the verdict: the origin gets nothing more', async () => {
    const { judge, answer } = asking();
    const { client, origin, ended } = await join(judge);
    client.send(text, '?last');
    await new Promise((resolve) => setTimeout(resolve, 20));
    client.socket.resetAndDestroy();
    // What is paused is not read: the reset shows when the verdict is there.
    await answer();
    expect((await ended).end).toBe('reset');
    await new Promise<void>((resolve) => {
      if (origin.socket.closed) resolve();
      else origin.socket.once('close', () => resolve());
    });
  });
});
