import { GloveboxError } from '../../base/errors.ts';
import { CODE_CAPS } from './caps.ts';

/** A frame of a kernel: `kind id length` on a line, and as many bytes. */
export interface KernelFrame {
  readonly kind: string;
  readonly id: string;
  readonly body: Buffer;
}

const HEAD = /^([a-z]{1,16}) ([0-9a-f]{1,64}|-) (\d{1,9})$/;

/** Cuts what a kernel sends into frames. Hostile input: bounded, and garbage is an error. */
export class KernelFrames {
  #kept: Buffer[] = [];
  #size = 0;
  /** Bytes that are needed before it is worth looking again. */
  #wanted = 1;

  /** @throws E_CODE_KERNEL */
  push(data: Buffer): readonly KernelFrame[] {
    this.#kept.push(data);
    this.#size += data.length;
    if (this.#size < this.#wanted) return [];
    let rest = this.#kept.length === 1 ? data : Buffer.concat(this.#kept);
    const frames: KernelFrame[] = [];
    this.#wanted = 1;
    for (;;) {
      const line = rest.subarray(0, CODE_CAPS.headBytes).indexOf(10);
      if (line < 0) {
        if (rest.length >= CODE_CAPS.headBytes) throw garbage('a head without an end');
        break;
      }
      const { kind, id, length } = headOf(rest.toString('latin1', 0, line));
      const end = line + 1 + length;
      if (rest.length < end) {
        this.#wanted = end;
        break;
      }
      frames.push({ kind, id, body: rest.subarray(line + 1, end) });
      rest = rest.subarray(end);
    }
    this.#kept = rest.length === 0 ? [] : [rest];
    this.#size = rest.length;
    return frames;
  }
}

function headOf(text: string): { readonly kind: string; readonly id: string; readonly length: number } {
  const match = HEAD.exec(text);
  if (match === null) throw garbage('a malformed head');
  const length = Number(match[3]);
  if (length > CODE_CAPS.frameBytes) throw garbage(`a frame of ${length} bytes`);
  return { kind: match[1] ?? '', id: match[2] ?? '', length };
}

export function garbage(what: string): GloveboxError {
  return new GloveboxError('E_CODE_KERNEL', { what: `the kernel sent ${what}` });
}

/** A frame to a kernel. */
export function encodeKernelFrame(kind: string, id: string, body: string): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(`${kind} ${id} ${bytes.length}\n`), bytes]);
}
