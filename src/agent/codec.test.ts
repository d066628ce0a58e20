import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeAirlockSpec, encodeBootSpec, encodeExecSpec, encodeWinsize } from './boot.ts';
import { FRAME_HEADER_BYTES, FrameDecoder, encodeFrame } from './frames.ts';
import type { Frame } from './frames.ts';
import * as numbers from './numbers.ts';
import { TlvRecord, TlvWriter } from './tlv.ts';

/** Cuts bytes at random places. */
function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [...new Set(places.map((place) => place % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((start, i) => bytes.subarray(start, at[i] ?? bytes.length));
}

const anyFrame = fc.record({
  type: fc.integer({ min: 0, max: 0xffff }),
  stream: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 300 }),
});

describe('TLV records', () => {
  it('come back as they were, however many there are', () => {
    const values = fc.array(
      fc.oneof(fc.nat(255), fc.string({ maxLength: 40 }), fc.uint8Array({ maxLength: 3000 })),
    );
    fc.assert(
      fc.property(values, (all) => {
        const out = new TlvWriter();
        all.forEach((value, tag) =>
          typeof value === 'number' ? out.u32(tag, value) : out.bytes(tag, value),
        );
        const record = new TlvRecord(out.u8(60_000, 7).finish());
        expect(record.u8(60_000)).toBe(7);
        all.forEach((value, tag) => {
          if (typeof value === 'number') expect(record.u32(tag)).toBe(value);
          else expect(record.bytes(tag)).toEqual(Buffer.from(value));
        });
      }),
    );
  });
});

describe('frames', () => {
  it('come back as they were, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(anyFrame, { maxLength: 20 }),
        fc.array(fc.nat(), { maxLength: 30 }),
        (frames, places) => {
          const bytes = Buffer.concat(
            frames.map((frame) => encodeFrame(frame.type, frame.stream, frame.payload)),
          );
          const decoder = new FrameDecoder();
          const seen: Frame[] = [];
          for (const chunk of cut(bytes, places)) for (const frame of decoder.push(chunk)) seen.push(frame);
          const plain = ({
            type,
            stream,
            payload,
          }: Omit<Frame, 'payload'> & { payload: Uint8Array }): unknown[] => [type, stream, ...payload];
          expect(seen.map(plain)).toEqual(frames.map(plain));
          expect(decoder.pending).toBe(0);
        },
      ),
    );
  });

  it('of any bytes are decoded or refused, and never keep more than one frame', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 20 }), (chunks) => {
        const decoder = new FrameDecoder();
        try {
          for (const chunk of chunks)
            for (const frame of decoder.push(Buffer.from(chunk)))
              expect(frame.payload.length).toBeLessThanOrEqual(65_536);
        } catch (error) {
          expect(error).toMatchObject({ code: 'E_PROTOCOL' });
        }
        expect(decoder.pending).toBeLessThanOrEqual(65_536 + FRAME_HEADER_BYTES + 200);
      }),
    );
  });

  it('larger than 64 KiB are refused as soon as the header is there', () => {
    const head = encodeFrame(1, 1).subarray();
    head.writeUInt32LE(65_537, 0);
    expect(() => [...new FrameDecoder().push(head)]).toThrow(/claims 65537 bytes/);
    head.writeUInt32LE(65_536, 0);
    expect([...new FrameDecoder().push(head)]).toEqual([]);
  });

  it('to the agent are refused when they are too large for it', () => {
    expect(() => encodeFrame(1, 0, Buffer.alloc(16 * 1024 * 1024 + 1))).toThrow(/at most 16777216/);
  });
});

describe('TLV', () => {
  it('comes back as it was', () => {
    const records = fc.uniqueArray(
      fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.uint8Array({ maxLength: 100 })),
      {
        selector: ([tag]) => tag,
        maxLength: 20,
      },
    );
    fc.assert(
      fc.property(records, (values) => {
        const out = new TlvWriter();
        for (const [tag, value] of values) out.bytes(tag, value);
        const record = new TlvRecord(out.finish());
        expect(record.tags).toEqual(values.map(([tag]) => tag));
        for (const [tag, value] of values) expect([...(record.bytes(tag) ?? [])]).toEqual([...value]);
      }),
    );
  });

  it('of any bytes is read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          const record = new TlvRecord(Buffer.from(bytes));
          record.u32(1, 0);
          record.u64(2, 0);
          expect(record.label(3)).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
        } catch (error) {
          expect(error).toMatchObject({ code: 'E_PROTOCOL' });
        }
      }),
    );
  });

  it('refuses a second value, a missing one and one of the wrong size', () => {
    const twice = new TlvWriter().u8(1, 1).u8(1, 2).finish();
    expect(() => new TlvRecord(twice)).toThrow(/appears twice/);
    const record = new TlvRecord(new TlvWriter().u8(1, 1).finish());
    expect(() => record.u32(1)).toThrow(/has 1 bytes/);
    expect(() => record.u32(2)).toThrow(/missing/);
    expect(record.u32(2, 7)).toBe(7);
    const huge = new TlvRecord(new TlvWriter().bytes(1, Buffer.alloc(8, 0xff)).finish());
    expect(() => huge.u64(1)).toThrow(/out of range/);
  });

  it('shows text from a sandbox without control characters', () => {
    const text = new TlvRecord(new TlvWriter().bytes(1, 'a\u001b[2J\u202eb\nc').finish());
    expect(text.label(1)).toBe('a?[2J?b?c');
  });
});

describe('boot messages', () => {
  const exec = { argv: ['true'], env: {}, cwd: '/' };

  it('refuse what C code could not read', () => {
    expect(() => encodeExecSpec({ ...exec, argv: ['a\0b'] })).toThrow(/NUL byte/);
    expect(() => encodeExecSpec({ ...exec, env: { 'A=B': 'x' } })).toThrow(/environment variable/);
    const spec = { parentPid: 1, scratch: 'relative', network: false, argv: ['/x'], env: {} };
    expect(() => encodeAirlockSpec(spec)).toThrow(/not an absolute path/);
  });

  it('name each root once, before the masks that use it', () => {
    const mask = (root: string, path: string) => ({ kind: 'hide', root, path }) as const;
    const masks = [mask('/a', 'x'), mask('/b', 'y'), mask('/a', 'z')];
    const frame = encodeAirlockSpec({
      parentPid: 1,
      scratch: '/s',
      network: false,
      argv: ['/x'],
      env: {},
      masks,
    });
    const text = frame.toString('latin1');
    expect(text.match(/\/a/g)?.length).toBe(1);
    expect(text.indexOf('/b')).toBeLessThan(text.indexOf('y', text.indexOf('/b')));
  });

  it('are frames of their own type', () => {
    expect(encodeBootSpec({ mode: 'oneshot', exec }).readUInt16LE(4)).toBe(numbers.FRAME.boot);
    expect([...encodeWinsize(70_000, -1)]).toEqual([0xff, 0xff, 0, 0]);
  });
});

describe('numbers', () => {
  it('are the same as in agent/src/proto.h', () => {
    const header = readFileSync(new URL('../../agent/src/proto.h', import.meta.url), 'utf8');
    const inC = new Map<string, number>();
    for (const [, name, value] of header.matchAll(/\b([A-Z][A-Z0-9_]+) = (0x[0-9a-f]+|\d+)[,\s]/g)) {
      if (name !== undefined) inC.set(name, Number(value));
    }
    const groups: readonly (readonly [string, Readonly<Record<string, number>>])[] = [
      ['F_', numbers.FRAME],
      ['A_', numbers.AIRLOCK_TAG],
      ['SF_', numbers.SCRATCH_TAG],
      ['MASK_', numbers.MASK_KIND],
      ['EXPECT_', numbers.MASK_EXPECT],
      ['MASK_', numbers.MASK_FLAG],
      ['PROTO_', numbers.LISTENER_PROTO],
      ['R_', numbers.READY_TAG],
      ['PH_', numbers.PLACEHOLDER_RESULT],
      ['B_', numbers.BOOT_TAG],
      ['MODE_', numbers.BOOT_MODE],
      ['VERIFY_', numbers.VERIFY_KIND],
      ['LANDLOCK_', numbers.LANDLOCK_MODE],
      ['X_', numbers.EXEC_TAG],
      ['STDIO_', numbers.STDIO_KIND],
      ['H_', numbers.HELLO_TAG],
      ['HELLO_', numbers.HELLO_FLAG],
      ['E_', numbers.ERROR_TAG],
      ['ERR_', numbers.ERROR_CODE],
      ['S_', numbers.STARTED_TAG],
      ['X_', numbers.EXIT_TAG],
      ['RESET_', numbers.RESET_TAG],
      ['SIGNAL_', numbers.SIGNAL_FLAG],
      ['M_', numbers.MACHINE_TAG],
      ['MACHINE_', numbers.MACHINE_FLAG],
      ['MM_', numbers.MACHINE_MOUNT_TAG],
      ['MOUNT_', numbers.MACHINE_MOUNT_KIND],
      ['MR_', numbers.MACHINE_READY_TAG],
      ['ME_', numbers.MACHINE_ENDED_TAG],
      ['OOM_', numbers.OOM_TAG],
      ['FR_', numbers.FROZEN_TAG],
      ['TH_', numbers.THAWED_TAG],
      ['GO_', numbers.GO_ON_TAG],
      ['TREE_', numbers.TREE_RECORD],
      ['OTHER_', numbers.TREE_OTHER],
      ['ORDER_', numbers.TREE_ORDER],
      ['FS_', numbers.FINISH_TAG],
      ['AP_', numbers.APPEARED_TAG],
      ['FD_', numbers.FINISHED_TAG],
      ['W_', numbers.WORK_TAG],
      ['OP_', numbers.FILE_OP],
      ['HOW_', numbers.WRITE_HOW],
      ['WF_', numbers.WORK_FLAG],
      ['REC_', numbers.RECORD_TAG],
      ['ENTRY_', numbers.ENTRY_TYPE],
      ['EVENT_', numbers.EVENT_KIND],
      ['OVERFLOW_', numbers.OVERFLOW_KIND],
      ['D_', numbers.DONE_TAG],
      ['DONE_', numbers.DONE_FLAG],
    ];
    for (const [prefix, group] of groups) {
      for (const [key, value] of Object.entries(group)) {
        const name = prefix + key.replace(/[A-Z]/g, '_$&').replaceAll('-', '_').toUpperCase();
        expect({ name, value: inC.get(name) }).toEqual({ name, value });
      }
    }
  });
});
