import { GloveboxError } from '../base/errors.ts';
import { RecordReader, type WorkRecord, type WorkResult } from './records.ts';
import type { WorkStream } from './work.ts';

/** Records of a work stream as they come. Throws what the work failed with, and E_LIMIT_EXCEEDED beyond `mostBytes`, default none. */
export async function* recordsOf(
  work: WorkStream,
  mostBytes = Number.POSITIVE_INFINITY,
): AsyncGenerator<WorkRecord, WorkResult, undefined> {
  const reader = new RecordReader();
  let bytes = 0;
  for await (const chunk of work.output) {
    const data: Buffer = Buffer.from(chunk);
    bytes += data.length;
    if (bytes > mostBytes)
      throw new GloveboxError('E_LIMIT_EXCEEDED', {
        what: `the answer from inside has more than ${mostBytes} bytes`,
        next: 'Ask for less at once, such as one directory after another.',
      });
    yield* reader.push(data);
  }
  const result = await work.done;
  reader.end();
  return result;
}
