import { spawn } from 'node:child_process';
import { GloveboxError } from '../base/errors.ts';
import { encodeFinishSpec } from './boot.ts';
import type { AppearedFile, FinishResult, FinishSpec, Identity } from './contract.ts';
import { FrameDecoder, protocolError } from './frames.ts';
import type { Frame } from './frames.ts';
import { APPEARED_TAG, FINISHED_TAG, FRAME, MASK_EXPECT } from './numbers.ts';
import { TlvRecord } from './tlv.ts';

/**
 * Releases a run's placeholders and lists what appeared; with placeholders alone it is the sweep before a run. Throws `E_IO`
 * when the agent fails. Preconditions: the sandbox has ended, otherwise its placeholders stay.
 */
export async function runFinish(agent: string, spec: FinishSpec, identity?: Identity): Promise<FinishResult> {
  const child = spawn(agent, ['finish'], { stdio: ['pipe', 'pipe', 'pipe'], env: {}, ...identity });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('close', (code, signal) => resolve(code === 0 ? '' : `it ended with ${signal ?? code}`));
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(encodeFinishSpec(spec));
  const [result, complaint, problem] = await Promise.all([
    readResult(child.stdout),
    readComplaint(child.stderr),
    ended,
  ]);
  if (problem === '' && result !== undefined) return result;
  const why = complaint === '' ? problem : complaint;
  throw new GloveboxError('E_IO', { what: 'the run could not be finished', why });
}

async function readResult(output: AsyncIterable<Buffer>): Promise<FinishResult | undefined> {
  const decoder = new FrameDecoder();
  const appeared: AppearedFile[] = [];
  let result: FinishResult | undefined;
  for await (const chunk of output) {
    for (const frame of decoder.push(chunk)) {
      if (result !== undefined) throw protocolError('a frame after FINISHED');
      if (frame.type === FRAME.appeared) appeared.push(readAppeared(frame));
      else if (frame.type === FRAME.finished) result = readFinished(frame, appeared);
      else throw protocolError(`frame type ${frame.type} from finish`);
    }
  }
  return result;
}

function readAppeared(frame: Frame): AppearedFile {
  const record = new TlvRecord(frame.payload);
  const path = record.bytes(APPEARED_TAG.path);
  const type = record.u8(APPEARED_TAG.type);
  if (path === undefined) throw protocolError('APPEARED without a path');
  if (type === MASK_EXPECT.dir) return { path: Buffer.from(path), type: 'dir' };
  return { path: Buffer.from(path), type: type === MASK_EXPECT.symlink ? 'symlink' : 'file' };
}

function readFinished(frame: Frame, appeared: readonly AppearedFile[]): FinishResult {
  const record = new TlvRecord(frame.payload);
  if (record.u32(FINISHED_TAG.results) !== appeared.length)
    throw protocolError('FINISHED counts other files');
  return {
    removed: record.u32(FINISHED_TAG.removed),
    kept: record.u32(FINISHED_TAG.kept),
    adopted: record.u32(FINISHED_TAG.adopted),
    entries: record.u64(FINISHED_TAG.entries),
    unreadable: record.u32(FINISHED_TAG.unreadable),
    truncated: record.u8(FINISHED_TAG.truncated) === 1,
    appeared,
  };
}

/** The agent's own message: one short line. */
async function readComplaint(errors: AsyncIterable<Buffer>): Promise<string> {
  let text = '';
  for await (const chunk of errors) if (text.length < 4096) text += chunk.toString('utf8');
  return text.slice(0, 4096).trim();
}
