import { duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { FrameDecoder, encodeFrame } from './frames.ts';
import { MachineKeeper } from './keeper.ts';
import { FRAME, FROZEN_TAG, MACHINE_TAG } from './numbers.ts';
import { AgentSession } from './session.ts';
import { tlvRecords, TlvWriter } from './tlv.ts';

type Frames = readonly { readonly type: number; readonly payload: Buffer }[];

/** A keeper, or whoever has taken its place, that answers each frame as `answer` says. */
function keeperThat(answer: (type: number) => Buffer | undefined): {
  readonly keeper: MachineKeeper;
  readonly said: Frames;
} {
  const [host, guest] = duplexPair();
  const decoder = new FrameDecoder();
  const said: { type: number; payload: Buffer }[] = [];
  guest.on('data', (chunk: Buffer) => {
    for (const { type, payload } of decoder.push(chunk)) {
      said.push({ type, payload });
      const words = answer(type);
      if (words === undefined) guest.end();
      else guest.write(words);
    }
  });
  return { keeper: new MachineKeeper(host), said };
}

const frozen = (holds: number): Buffer =>
  encodeFrame(FRAME.frozen, 0, new TlvWriter().u32(FROZEN_TAG.holds, holds).finish());

describe('the keeper of a machine', () => {
  it('is told to hold, and with what to let go', async () => {
    const { keeper, said } = keeperThat((type) =>
      type === FRAME.freeze ? frozen(1) : encodeFrame(FRAME.thawed, 0),
    );
    await keeper.freeze();
    await keeper.thaw({ clockNs: 7n });
    await keeper.freeze();
    const machineId = '00112233445566778899aabbccddeeff';
    await keeper.thaw({ clockNs: 8n, seed: Buffer.alloc(32, 1), hostname: 'box-1', machineId });
    expect(said.map(({ type }) => type)).toEqual([FRAME.freeze, FRAME.thaw, FRAME.freeze, FRAME.thaw]);
    const tags = said.map(({ payload }) => new Set([...tlvRecords(payload)].map(({ tag }) => tag)));
    expect(tags[1]).toEqual(new Set([MACHINE_TAG.clock]));
    const { hostname, id, seed, clock } = MACHINE_TAG;
    expect(tags[3]).toEqual(new Set([hostname, id, seed, clock]));
  });

  it('says when a process would not stop', async () => {
    const { keeper } = keeperThat(() => frozen(0));
    await expect(keeper.freeze()).rejects.toMatchObject({ code: 'E_TIMEOUT' });
  });

  it.each([
    ['something else', encodeFrame(FRAME.thawed, 0), 'E_PROTOCOL'],
    ['garbage', Buffer.alloc(64, 0xff), 'E_PROTOCOL'],
    ['for a stream', encodeFrame(FRAME.frozen, 3), 'E_PROTOCOL'],
    ['nothing and ends', undefined, 'E_SANDBOX_LOST'],
  ])('is done with when it answers %s', async (_what, words, code) => {
    const { keeper } = keeperThat(() => words);
    await expect(keeper.freeze()).rejects.toMatchObject({ code });
    await expect(keeper.freeze()).rejects.toMatchObject({ code });
  });
});

describe('a session that is quiet', () => {
  it('keeps back what is asked for until it goes on', async () => {
    const [host, guest] = duplexPair();
    const decoder = new FrameDecoder();
    const types: number[] = [];
    guest.on('data', (chunk: Buffer) => {
      for (const { type } of decoder.push(chunk)) {
        types.push(type);
        if (type === FRAME.quiesce) guest.write(encodeFrame(FRAME.quiet, 0));
        if (type === FRAME.ping) guest.write(encodeFrame(FRAME.pong, 0));
      }
    });
    const session = new AgentSession(host, { airlock: false });
    guest.write(encodeFrame(FRAME.hello, 0, HELLO));
    await session.hello;
    await session.quiesce();
    const pong = session.ping();
    await new Promise((resolve) => setImmediate(resolve));
    expect(types).toEqual([FRAME.quiesce]);
    session.goOn();
    await pong;
    expect(types).toEqual([FRAME.quiesce, FRAME.goOn, FRAME.ping]);
    session.destroy();
  });

  it('is over when the machine ends instead', async () => {
    const [host, guest] = duplexPair();
    const session = new AgentSession(host, { airlock: false });
    guest.write(encodeFrame(FRAME.hello, 0, HELLO));
    await session.hello;
    const quiet = session.quiesce();
    guest.end();
    await expect(quiet).rejects.toMatchObject({ code: 'E_SANDBOX_LOST' });
  });
});

const HELLO = [1, 6, 15, 1, 1000, 1000]
  .reduce((out, value, at) => out.u32(at + 1, value), new TlvWriter())
  .finish();
