import { once } from 'node:events';
import { rmSync, symlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { isGloveboxError } from '../../base/errors.ts';
import { dialGuest } from './channel.ts';
import { callFirecracker } from './client.ts';
import { acceptOn, fault, FirecrackerOutside, type Respond } from './firecracker.fixture.ts';
import { PORTS } from './layout.ts';
import { bootCalls, pauseCall, restoreCalls } from './requests.ts';
import { startMachine } from './boot.ts';

const CALLS = bootCalls({ arch: 'x64', memoryBytes: 2 ** 28, cpus: 1, disk: true });

/** Longer than anything here takes on a machine under load. */
const PLENTY_MS = 20_000;

async function failure(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    if (isGloveboxError(error)) return error;
    throw error;
  }
  throw new Error('nothing failed');
}

async function said(connection: Socket, length: number): Promise<string> {
  let text = '';
  connection.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  connection.resume();
  while (text.length < length) await once(connection, 'data');
  return text;
}

describe('startMachine', () => {
  it('makes the calls in order, and hands over what the guest said after the handshake', async () => {
    await using outside = await new FirecrackerOutside(acceptOn(PORTS.agent, 'hello')).listen();
    const channel = await startMachine({ sockets: outside.sockets, calls: CALLS, timeoutMs: PLENTY_MS });
    expect(outside.calls).toEqual(CALLS.map((call) => `${call.method} ${call.path}`));
    expect(await said(channel, 5)).toBe('hello');
    channel.destroy();
  });

  it('waits for a Firecracker that is not there yet, and then for its guest', async () => {
    let refused = 0;
    await using outside = new FirecrackerOutside((port, connection) => {
      if (refused++ < 3) connection.destroy();
      else acceptOn(PORTS.agent, '')(port, connection);
    });
    const started = startMachine({ sockets: outside.sockets, calls: restoreCalls(), timeoutMs: PLENTY_MS });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await outside.listen();
    (await started).destroy();
    expect(refused).toBe(4);
    expect(outside.calls).toEqual(['PUT /logger', 'PUT /snapshot/load', 'PATCH /vm']);
  });

  it('stops at the first call that is refused, with the reason', async () => {
    const respond: Respond = (_method, url) =>
      url === '/vsock' ? fault('no vsock\u001b[31m\ntoday') : undefined;
    await using outside = await new FirecrackerOutside(acceptOn(PORTS.agent, ''), respond).listen();
    const error = await failure(
      startMachine({ sockets: outside.sockets, calls: CALLS, timeoutMs: PLENTY_MS }),
    );
    expect(error).toMatchObject({
      code: 'E_SANDBOX_START',
      what: 'Firecracker did not do as it was told (PUT /vsock)',
      why: 'no vsock [31m today',
      context: { status: 400, method: 'PUT', path: '/vsock' },
    });
    expect(outside.calls.at(-1)).toBe('PUT /vsock');
  });

  it('is given up when it is told to', async () => {
    await using outside = new FirecrackerOutside();
    const signal = AbortSignal.timeout(30);
    const error = failure(
      startMachine({ sockets: outside.sockets, calls: CALLS, timeoutMs: PLENTY_MS, signal }),
    );
    expect(await error).toMatchObject({ code: 'E_ABORTED' });
  });
});

describe('callFirecracker', () => {
  it.each([
    ['an answer without end', { status: 400, text: 'x'.repeat(1024 * 1024) }, /more than 65536 bytes/],
    ['an answer that is no object', { status: 500, text: '[]' }, /^HTTP status 500 without a reason$/],
    ['an answer that is not JSON', { status: 400, text: '<html>' }, /^HTTP status 400 without a reason$/],
    [
      'a fault that is no text',
      { status: 400, text: '{"fault_message":1}' },
      /^HTTP status 400 without a reason$/,
    ],
    ['a fault of many words', fault('y'.repeat(5000)), /^y{500}$/],
  ])('refuses %s', async (_name, answer, why) => {
    await using outside = await new FirecrackerOutside(undefined, () => answer).listen();
    const error = await failure(callFirecracker(outside.api, pauseCall()));
    expect(error).toMatchObject({ code: 'E_SANDBOX_START', why: expect.stringMatching(why) });
  });

  it('does not wait for ever, nor for nobody', async () => {
    await using outside = new FirecrackerOutside();
    expect(await failure(callFirecracker(outside.api, pauseCall()))).toMatchObject({
      code: 'E_SANDBOX_START',
      context: { code: 'ENOENT' },
    });
    await using stuck = await new FirecrackerOutside((_port, connection) => connection.pause()).listen();
    await stuck.start();
    // A socket that takes a request and answers nothing.
    expect(await failure(callFirecracker(stuck.guest, pauseCall(), { timeoutMs: 50 }))).toMatchObject({
      code: 'E_SANDBOX_START',
    });
  });
});

describe('connectTo', () => {
  it('follows no link that was put in the place of a socket', async () => {
    await using outside = await new FirecrackerOutside(acceptOn(PORTS.agent, 'hello')).listen();
    await outside.start();
    const trap = `${outside.sockets}/trap`;
    symlinkSync(outside.api, trap);
    const refused = { code: 'E_SANDBOX_START', why: expect.stringContaining('not followed') };
    expect(await failure(callFirecracker(trap, pauseCall()))).toMatchObject(refused);
    rmSync(trap);
    symlinkSync(outside.guest, trap);
    const dialled = dialGuest({ socket: trap, port: PORTS.agent, timeoutMs: PLENTY_MS });
    expect(await failure(dialled)).toMatchObject(refused);
    expect(outside.calls).toEqual([]);
  });
});

describe('dialGuest', () => {
  const dial = (socket: string, timeoutMs: number): Promise<Socket> =>
    dialGuest({ socket, port: PORTS.agent, timeoutMs });

  it('says so when nobody listens in time', async () => {
    await using outside = new FirecrackerOutside();
    const late = { code: 'E_SANDBOX_START', why: `nobody in it listens on vsock port ${PORTS.agent}` };
    expect(await failure(dial(outside.guest, 40))).toMatchObject(late);
    await outside.start();
    expect(await failure(dial(outside.guest, 40))).toMatchObject(late);
  });

  it('asks again where a request was lost', async () => {
    let asked = 0;
    await using outside = new FirecrackerOutside((port, connection) => {
      if (asked++ > 0) acceptOn(PORTS.agent, '')(port, connection);
    });
    await outside.start();
    (await dial(outside.guest, PLENTY_MS)).destroy();
    expect(asked).toBe(2);
  });

  it('takes an answer that arrives byte by byte', async () => {
    await using outside = new FirecrackerOutside((_port, connection) => {
      const bytes = 'OK 7\nrest'.split('');
      const next = (): void => {
        const byte = bytes.shift();
        if (byte !== undefined) connection.write(byte, () => setImmediate(next));
      };
      next();
    });
    await outside.start();
    const channel = await dial(outside.guest, PLENTY_MS);
    expect(await said(channel, 4)).toBe('rest');
    channel.destroy();
  });

  it.each(['NO\n', 'OK\n', 'OK x\n', 'OK 99999999999\n', 'HTTP/1.1 400 Bad Request\r\n', 'x'.repeat(4096)])(
    'trusts no %j',
    async (answer) => {
      await using outside = new FirecrackerOutside((_port, connection) => void connection.write(answer));
      await outside.start();
      expect(await failure(dial(outside.guest, PLENTY_MS))).toMatchObject({ code: 'E_PROTOCOL' });
    },
  );
});
