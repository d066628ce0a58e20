import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';

/** u32 payload length, u16 type, u16 flags (0), u32 stream; all little-endian. */
export const FRAME_HEADER_BYTES = 12;

export interface Frame {
  readonly type: number;
  /** 0 when the frame belongs to no stream. */
  readonly stream: number;
  readonly payload: Buffer;
}

export function protocolError(why: string): GloveboxError {
  return new GloveboxError('E_PROTOCOL', { what: 'the agent sent something that is not its protocol', why });
}

/** One frame for the agent. Preconditions: the payload is at most `CAPS.bootPayloadBytes`. */
export function encodeFrame(type: number, stream: number, payload?: Uint8Array): Buffer {
  const length = payload?.length ?? 0;
  if (length > CAPS.bootPayloadBytes) {
    throw new GloveboxError('E_SANDBOX_START', {
      what: `a message to the agent has ${length} bytes`,
      why: `the protocol carries at most ${CAPS.bootPayloadBytes}`,
      next: 'Shorten the command, its environment, or the list of denied paths.',
    });
  }
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + length);
  frame.writeUInt32LE(length, 0);
  frame.writeUInt16LE(type, 4);
  frame.writeUInt16LE(0, 6);
  frame.writeUInt32LE(stream, 8);
  if (payload !== undefined) frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/**
 * Splits bytes from the agent into frames. The input is hostile: a frame longer than `CAPS.framePayloadBytes` or with flags
 * set is an error, and never more than one frame is kept.
 */
export class FrameDecoder {
  #chunks: Buffer[] = [];
  #length = 0;
  #needed = FRAME_HEADER_BYTES;
  readonly #most: number;

  /** `most` is the greatest payload, in bytes. */
  constructor(most: number = CAPS.framePayloadBytes) {
    this.#most = most;
  }

  /** Bytes of an unfinished frame. */
  get pending(): number {
    return this.#length;
  }

  /** The frames that are complete with this chunk. Throws `E_PROTOCOL`. */
  *push(chunk: Buffer): Generator<Frame, void, undefined> {
    this.#chunks.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= this.#needed) {
      const bytes = this.#join();
      const size = frameSize(bytes, this.#most);
      if (bytes.length < size) {
        this.#needed = size;
        return;
      }
      this.#keep(bytes.subarray(size));
      yield readFrame(bytes, size);
    }
  }

  #join(): Buffer {
    const [first, ...others] = this.#chunks;
    return first !== undefined && others.length === 0 ? first : Buffer.concat(this.#chunks, this.#length);
  }

  #keep(rest: Buffer): void {
    this.#chunks = rest.length === 0 ? [] : [rest];
    this.#length = rest.length;
    this.#needed = FRAME_HEADER_BYTES;
  }
}

function frameSize(bytes: Buffer, most: number): number {
  const length = bytes.readUInt32LE(0);
  if (length > most) throw protocolError(`a frame claims ${length} bytes`);
  if (bytes.readUInt16LE(6) !== 0) throw protocolError('a reserved flag is set');
  return FRAME_HEADER_BYTES + length;
}

function readFrame(bytes: Buffer, size: number): Frame {
  return {
    type: bytes.readUInt16LE(4),
    stream: bytes.readUInt32LE(8),
    payload: bytes.subarray(FRAME_HEADER_BYTES, size),
  };
}
