import { RecordReader, type WorkRecord, type WorkResult } from './records.ts';
import type { WorkStream } from './work.ts';

/** Records of a work stream as they come. Throws what the work failed with. */
export async function* recordsOf(work: WorkStream): AsyncGenerator<WorkRecord, WorkResult, undefined> {
  const reader = new RecordReader();
  for await (const chunk of work.output) yield* reader.push(Buffer.from(chunk));
  const result = await work.done;
  reader.end();
  return result;
}
