import { GloveboxError } from '../src/base/errors.ts';
import { FrameDecoder, encodeFrame } from '../src/agent/frames.ts';
import { FRAME, RECORD_TAG } from '../src/agent/numbers.ts';
import {
  listedEntry,
  namedEntry,
  readDone,
  readEvent,
  readOverflow,
  readPort,
  readProcess,
  RecordReader,
} from '../src/agent/records.ts';
import { TlvWriter } from '../src/agent/tlv.ts';
import { promise, type FuzzTarget } from './net-parsers.ts';

/** What a sandbox says is read, or refused with E_PROTOCOL; never anything else. */
function readsOrRefuses(read: () => void): void {
  try {
    read();
  } catch (error) {
    if (!(error instanceof GloveboxError)) throw error;
    promise(error.code === 'E_PROTOCOL', `E_PROTOCOL, not ${error.code}`);
  }
}

/** An entry, an event, a process and a port with something in every field. */
const RECORDS: readonly Uint8Array[] = [
  Buffer.from(
    '0300010002000000a4010000e8030000e803000015cd5b07050000000000000000f1536500000000612e2e',
    'hex',
  ),
  Buffer.from('0402010001006162', 'hex'),
  Buffer.from(
    '070000000100000007000000050000000000000053000200a0e0aa8c01000000001000000000000064000000000000000600000073687368002d6300',
    'hex',
  ),
  Buffer.from(`901f040000000000${'00'.repeat(8)}7f000001${'00'.repeat(12)}`, 'hex'),
];

export const AGENT_TARGETS: readonly FuzzTarget[] = [
  {
    name: 'agent frames',
    seeds: [
      encodeFrame(FRAME.data, 3, RECORDS[0]),
      encodeFrame(FRAME.done, 3, Buffer.from('0100040000000000000', 'hex')),
    ],
    run: (input) =>
      readsOrRefuses(() => {
        for (const frame of new FrameDecoder().push(Buffer.from(input)))
          promise(frame.payload.length <= input.length, 'no frame is longer than what came');
      }),
  },
  {
    name: 'agent records',
    seeds: RECORDS.map((value, i) => new TlvWriter().bytes(i + RECORD_TAG.entry, value).finish()),
    run: (input) =>
      readsOrRefuses(() => {
        const reader = new RecordReader();
        for (const { value } of reader.push(Buffer.from(input)))
          promise(value.length <= input.length, 'no record is longer than what came');
        reader.end();
      }),
  },
  {
    name: 'agent entries',
    seeds: RECORDS,
    run: (input) => {
      const value = Buffer.from(input);
      readsOrRefuses(() => {
        const entry = listedEntry(value, '/dir');
        promise(
          entry.path.startsWith('/dir/') && !/\/\.\.?(\/|$)/.test(entry.path),
          'a listed path stays below its directory',
        );
        promise(Number.isSafeInteger(entry.mtimeMs) && entry.mode <= 0o7777, 'figures are figures');
      });
      for (const read of [readEvent, readOverflow, readProcess, readPort, readDone])
        readsOrRefuses(() => read(value));
      readsOrRefuses(() => namedEntry(value, '/dir/name'));
    },
  },
];
