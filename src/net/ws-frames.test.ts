import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { WsAssembler } from './ws-frames-message.ts';
import { WS_CLOSE, WS_OPCODE, WsReader, closePayload, writeWsFrame } from './ws-frames.ts';
import type { WsFrame, WsOpcode } from './ws-frames.ts';

const MASK = Uint8Array.of(1, 2, 3, 4);
const LIMITS = { frameBytes: 70_000, messageBytes: 70_000 };

function frame(opcode: WsOpcode, payload: string | Uint8Array = '', fin = true): WsFrame {
  return { fin, opcode, payload: Buffer.from(payload) };
}

const { text, binary, continuation, close, ping, pong } = WS_OPCODE;

/** What a reader of client frames says about these bytes: frames, then the problem. */
function read(bytes: Uint8Array, masked = true) {
  const reader = new WsReader({ ...LIMITS, masked });
  const { frames, problem } = reader.push(bytes);
  return {
    frames: frames.map((one) => ({ ...one, payload: one.payload.toString('latin1') })),
    problem,
    idle: reader.idle,
  };
}

const client = (...frames: readonly WsFrame[]): Buffer =>
  Buffer.concat(frames.map((one) => writeWsFrame(one, MASK)));

describe('frames', () => {
  test('RFC 6455 §5.7', () => {
    expect(read(Buffer.from('810548656c6c6f', 'hex'), false).frames).toEqual([
      { fin: true, opcode: text, payload: 'Hello' },
    ]);
    expect(read(Buffer.from('818537fa213d7f9f4d5158', 'hex')).frames).toEqual([
      { fin: true, opcode: text, payload: 'Hello' },
    ]);
    expect(
      read(Buffer.from('010348656c80026c6f', 'hex'), false).frames.map(({ payload }) => payload),
    ).toEqual(['Hel', 'lo']);
    expect(writeWsFrame(frame(text, 'Hello')).toString('hex')).toBe('810548656c6c6f');
    expect(writeWsFrame(frame(text, 'Hello'), Buffer.from('37fa213d', 'hex')).toString('hex')).toBe(
      '818537fa213d7f9f4d5158',
    );
  });

  test.each([
    ['a reserved bit', 'c1800000', WS_CLOSE.protocolError],
    ['opcode 3', '83800000', WS_CLOSE.protocolError],
    ['opcode 11', '8b800000', WS_CLOSE.protocolError],
    ['no mask', '8100', WS_CLOSE.protocolError],
    ['HTTP', Buffer.from('GET / HTTP/1.1').toString('hex'), WS_CLOSE.protocolError],
    ['a long ping', '89fe', WS_CLOSE.protocolError],
    ['a fragmented ping', '0980', WS_CLOSE.protocolError],
    ['126 bytes spelled 125', '81fe007d00000000', WS_CLOSE.protocolError],
    ['64 bits for 16', '81ff000000000000ffff00000000', WS_CLOSE.protocolError],
    ['the highest bit', '81ff800000000000000000000000', WS_CLOSE.protocolError],
    ['2^40 bytes', '81ff000001000000000000000000', WS_CLOSE.tooBig],
    ['over the cap', '82ff000000000001117100000000', WS_CLOSE.tooBig],
    ['a continuation of nothing', '808000000000', WS_CLOSE.protocolError],
    ['a close code of one byte', '88810000000001', WS_CLOSE.protocolError],
    ['close code 1005', '88820000000003ed', WS_CLOSE.protocolError],
    ['close code 999', '88820000000003e7', WS_CLOSE.protocolError],
    ['close code 5000', '8882000000001388', WS_CLOSE.protocolError],
    ['a bad close reason', '88830000000003e8ff', WS_CLOSE.badData],
    ['a text that is no UTF-8', '818200000000c0af', WS_CLOSE.badData],
  ])('refuses %s', (_name, hex, code) => {
    expect(read(Buffer.from(hex, 'hex')).problem?.code).toBe(code);
  });

  test('refuses a masked frame of a server, a message within a message, anything after close', () => {
    expect(read(client(frame(text)), false).problem?.why).toContain('masked');
    expect(read(client(frame(text, 'a', false), frame(text, 'b'))).problem?.why).toContain('within');
    const after = read(client(frame(close), frame(ping)));
    expect(after.frames).toHaveLength(1);
    expect(after.problem?.why).toContain('after its close');
  });

  test('nothing is read after a problem', () => {
    const reader = new WsReader({ ...LIMITS, masked: true });
    expect(reader.push(Buffer.from('ff', 'hex')).problem).toBeUndefined();
    expect(reader.push(Buffer.from('80', 'hex')).problem).toBeDefined();
    expect(reader.push(client(frame(text, 'x')))).toMatchObject({
      frames: [],
      problem: { code: WS_CLOSE.protocolError },
    });
  });

  test('a character may be cut by a frame, not by a message', () => {
    const euro = Buffer.from('€');
    expect(
      read(
        client(frame(text, euro.subarray(0, 1), false), frame(ping), frame(continuation, euro.subarray(1))),
      ).problem,
    ).toBeUndefined();
    expect(read(client(frame(text, euro.subarray(0, 1), false), frame(continuation))).problem?.code).toBe(
      WS_CLOSE.badData,
    );
    expect(read(client(frame(binary, euro.subarray(0, 1)))).problem).toBeUndefined();
  });

  test('a message is bounded over its frames, and their number too', () => {
    const half = Buffer.alloc(40_000, 0x61);
    expect(read(client(frame(binary, half, false), frame(continuation, half))).problem?.code).toBe(
      WS_CLOSE.tooBig,
    );
    const empty = Array.from({ length: 20_000 }, () => frame(continuation, '', false));
    expect(read(client(frame(binary, '', false), ...empty)).problem?.code).toBe(WS_CLOSE.tooBig);
    const streaming = new WsReader({ masked: false, frameBytes: 10 });
    expect(
      streaming.push(Buffer.concat([frame(binary, '', false), ...empty].map((one) => writeWsFrame(one))))
        .problem,
    ).toBeUndefined();
  });

  test('an announced length costs nothing until bytes arrive; an unfinished frame is not idle', () => {
    const { frames, problem, idle } = read(Buffer.from('82ff000000000001000000000000ff', 'hex'));
    expect([frames, problem, idle]).toEqual([[], undefined, false]);
    expect(read(client(frame(text, 'x'))).idle).toBe(true);
  });

  test('closePayload is printable and fits', () => {
    expect(closePayload(1008, 'a\nb').toString('latin1')).toBe('\x03\xf0a?b');
    expect(closePayload(1008, 'x'.repeat(500))).toHaveLength(125);
  });
});

test('messages are joined, control frames pass between', () => {
  const assembler = new WsAssembler();
  const added = [frame(text, 'a', false), frame(pong, 'p'), frame(continuation, 'b'), frame(binary, 'c')].map(
    (one) => assembler.add(one),
  );
  expect(added.map((one) => one && [one.kind, one.data.toString(), one.frame.opcode, one.frame.fin])).toEqual(
    [undefined, ['control', 'p', pong, true], ['text', 'ab', text, true], ['binary', 'c', binary, true]],
  );
});

describe('any bytes', () => {
  const wire = fc.oneof(
    fc.uint8Array({ maxLength: 64 }),
    fc
      .array(
        fc.tuple(
          fc.constantFrom(text, binary, continuation, close, ping, pong),
          fc.uint8Array({ maxLength: 300 }),
          fc.boolean(),
        ),
        { maxLength: 6 },
      )
      .map((all) => client(...all.map(([opcode, payload, fin]) => frame(opcode, payload, fin)))),
  );

  test('pieces of any size give the same frames and the same problem', () => {
    fc.assert(
      fc.property(wire, fc.infiniteStream(fc.integer({ min: 1, max: 20 })), (bytes, sizes) => {
        const whole = new WsReader({ ...LIMITS, masked: true }).push(bytes);
        const reader = new WsReader({ ...LIMITS, masked: true });
        const frames: WsFrame[] = [];
        let problem: unknown;
        for (let at = 0; at < bytes.length && problem === undefined;) {
          const step = sizes.next().value ?? 1;
          const some = reader.push(bytes.subarray(at, at + step));
          frames.push(...some.frames);
          problem = some.problem;
          at += step;
        }
        expect(frames).toEqual(whole.frames);
        expect(problem).toEqual(whole.problem);
      }),
      { numRuns: 500 },
    );
  });

  test('what is read is written the same', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 70_000, size: 'max' }), fc.boolean(), (payload, masked) => {
        const written = writeWsFrame(frame(binary, payload), masked ? MASK : undefined);
        const result = new WsReader({ ...LIMITS, masked }).push(written);
        expect(result.problem).toBeUndefined();
        expect(Buffer.compare(result.frames[0]?.payload ?? Buffer.alloc(0), payload)).toBe(0);
      }),
      { numRuns: 30 },
    );
  });

  test('1 MiB byte by byte comes to an end', () => {
    const reader = new WsReader({ masked: true, frameBytes: 2_000_000, messageBytes: 2_000_000 });
    const bytes = client(frame(binary, Buffer.alloc(1_048_576)));
    let frames = 0;
    for (let at = 0; at < bytes.length; at++) frames += reader.push(bytes.subarray(at, at + 1)).frames.length;
    expect(frames).toBe(1);
  });
});
