import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isGloveboxError } from '../base/errors.ts';
import { EVENT_KIND, RECORD_TAG } from './numbers.ts';
import { listedEntry, readEvent, readPort, readProcess, RecordReader } from './records.ts';
import { TlvWriter } from './tlv.ts';

function event(kind: number, path: string, to = ''): Buffer {
  const [first, second] = [Buffer.from(path), Buffer.from(to)];
  const head = Buffer.alloc(6);
  head.writeUInt8(kind, 0);
  head.writeUInt8(2, 1);
  head.writeUInt16LE(first.length, 2);
  head.writeUInt16LE(second.length, 4);
  return Buffer.concat([head, first, second]);
}

function processRecord(argv: string): Buffer {
  const head = Buffer.alloc(52);
  head.writeUInt32LE(7, 0);
  head.writeUInt8('S'.charCodeAt(0), 20);
  head.writeUInt16LE(2, 22);
  head.writeUInt32LE(Buffer.byteLength(argv), 48);
  return Buffer.concat([head, Buffer.from(`sh${argv}`)]);
}

describe('records', () => {
  it('come back as they were, however they are cut', () => {
    const records = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 0xffff }), fc.uint8Array({ maxLength: 300 })),
    );
    fc.assert(
      fc.property(records, fc.array(fc.nat()), (all, places) => {
        const out = new TlvWriter();
        for (const [tag, value] of all) out.bytes(tag, value);
        const bytes = out.finish();
        const reader = new RecordReader();
        const seen: unknown[] = [];
        const cuts = [
          0,
          ...places.map((at) => at % (bytes.length + 1)).toSorted((a, b) => a - b),
          bytes.length,
        ];
        for (const [i, at] of cuts.entries())
          for (const { tag, value } of reader.push(bytes.subarray(cuts[i - 1] ?? 0, at)))
            seen.push([tag, [...value]]);
        reader.end();
        expect(seen).toEqual(all.map(([tag, value]) => [tag, [...value]]));
      }),
    );
  });

  it('of any bytes are read or refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => {
        for (const read of [readEvent, readProcess, readPort, (value: Buffer) => listedEntry(value, '/d')]) {
          try {
            const value = read(Buffer.from(bytes));
            if ('mtimeMs' in value) expect(value.path).toMatch(/^\/d\/[^/]/);
          } catch (error) {
            expect(isGloveboxError(error) && error.code).toBe('E_PROTOCOL');
          }
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('of a watch', () => {
    expect(readEvent(event(EVENT_KIND.create, 'a/b'))).toEqual({
      type: 'create',
      path: 'a/b',
      directory: true,
    });
    expect(readEvent(event(EVENT_KIND.rename, 'a', 'b'))).toEqual({
      type: 'rename',
      path: 'a',
      to: 'b',
      directory: true,
    });
    for (const bad of [
      event(9, 'a'),
      event(EVENT_KIND.rename, 'a'),
      event(EVENT_KIND.create, 'a', 'b'),
      event(1, '..'),
      event(1, 'a//b'),
    ])
      expect(() => readEvent(bad)).toThrow(expect.objectContaining({ code: 'E_PROTOCOL' }));
  });

  it('of a process, whatever it writes into its arguments', () => {
    expect(readProcess(processRecord('sh\0-c\0x y\0')).argv).toEqual(['sh', '-c', 'x y']);
    expect(readProcess(processRecord('changed title')).argv).toEqual(['changed title']);
    expect(readProcess(processRecord('')).argv).toEqual([]);
    expect(readProcess(processRecord('\0\0')).argv).toEqual(['', '']);
  });

  it('of a port', () => {
    const value = Buffer.alloc(32);
    value.writeUInt16LE(8080, 0);
    value.writeUInt8(4, 2);
    value.set([127, 0, 0, 1], 16);
    expect(readPort(value)).toEqual({ port: 8080, address: '127.0.0.1', uid: 0 });
    expect(RECORD_TAG.port).toBe(6);
  });
});
