import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { GloveboxError } from '../base/errors.ts';
import { encodeFinishSpec } from './boot.ts';
import type { AppearedFile, FinishResult, FinishSpec, Identity } from './contract.ts';
import { FrameDecoder, protocolError } from './frames.ts';
import type { Frame } from './frames.ts';
import { APPEARED_TAG, FINISHED_TAG, FRAME, MASK_EXPECT } from './numbers.ts';
import { TlvRecord } from './tlv.ts';

/**
 * The helper that tidies up after a run. It is started while the sandbox still dies, so that it stands ready when that is
 * over, and does nothing before `finish`.
 */
export class Finisher {
  /** Resolves when the helper is gone; never rejects. */
  readonly gone: Promise<void>;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #problem: Promise<string>;

  constructor(agent: string, identity?: Identity) {
    this.#child = spawn(agent, ['finish'], { stdio: ['pipe', 'pipe', 'pipe'], env: {}, ...identity });
    this.#problem = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(error.message));
      this.#child.once('close', (code, signal) =>
        resolve(code === 0 ? '' : `it ended with ${signal ?? code}`),
      );
    });
    this.gone = this.#problem.then(() => undefined);
    this.#child.stdin.on('error', () => undefined);
  }

  /**
   * Releases a run's placeholders and lists what appeared. Resolves as soon as that is known; the helper may need a moment
   * more to leave. Preconditions: the sandbox has ended, otherwise its placeholders stay.
   *
   * @throws E_IO when the helper fails
   */
  async finish(spec: FinishSpec): Promise<FinishResult> {
    this.#child.stdin.end(encodeFinishSpec(spec));
    const complaint = readComplaint(this.#child.stderr);
    const result = await readResult(this.#child.stdout);
    if (result !== undefined) return result;
    const problem = await this.#problem;
    const said = complaint();
    throw new GloveboxError('E_IO', {
      what: 'the run could not be finished',
      why: said === '' ? problem : said,
    });
  }

  /** Lets the helper go with nothing done. Does nothing after `finish`. */
  dismiss(): void {
    this.#child.stdin.end();
    this.#child.stdout.resume();
    this.#child.stderr.resume();
  }
}

/** A helper's whole life: the sweep before a run, or after one that failed to start. Throws `E_IO` when the helper fails. */
export async function runFinish(agent: string, spec: FinishSpec, identity?: Identity): Promise<FinishResult> {
  const finisher = new Finisher(agent, identity);
  const result = await finisher.finish(spec);
  await finisher.gone;
  return result;
}

/** Undefined when the output ends before the result. Listens instead of iterating, which would load more of Node. */
function readResult(output: Readable): Promise<FinishResult | undefined> {
  const decoder = new FrameDecoder();
  const appeared: AppearedFile[] = [];
  return new Promise((resolve, reject) => {
    output.on('data', (chunk: Buffer) => {
      try {
        for (const frame of decoder.push(chunk)) {
          if (frame.type === FRAME.finished) resolve(readFinished(frame, appeared));
          else if (frame.type === FRAME.appeared) appeared.push(readAppeared(frame));
          else throw protocolError(`frame type ${frame.type} from finish`);
        }
      } catch (error) {
        reject(error);
      }
    });
    output.once('close', () => resolve(undefined));
  });
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
function readComplaint(errors: Readable): () => string {
  let text = '';
  errors.on('data', (chunk: Buffer) => {
    if (text.length < 4096) text += chunk.toString('utf8');
  });
  return () => text.slice(0, 4096).trim();
}
