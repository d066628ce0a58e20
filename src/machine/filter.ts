import { spawn } from 'node:child_process';
import { gunzipSync } from 'node:zlib';
import { systemCode } from '../base/errors.ts';
import { machineError } from './problem.ts';

/** A program that turns its standard input into its standard output. */
interface Filter {
  readonly program: string;
  readonly args: readonly string[];
  /** Debian's package. */
  readonly pkg: string;
}

const UNPACK: Readonly<Record<'lz4' | 'xz' | 'zstd', Filter>> = {
  lz4: { program: 'lz4', args: ['-dc'], pkg: 'lz4' },
  // Bounds of memory: kernels are made with dictionaries of 32 MiB (scripts/xz_wrap.sh), zstd with windows of 128 MiB.
  xz: { program: 'xz', args: ['-dc', '--memlimit-decompress=256MiB'], pkg: 'xz-utils' },
  zstd: { program: 'zstd', args: ['-dc', '--memory=128MB'], pkg: 'zstd' },
};

/** A kernel of 100 MB takes lz4 half a second, and xz six, on a loaded machine. */
const FILTER_MS = 120_000;

export type Packing = 'lz4' | 'xz' | 'zstd' | 'gzip';

/** What the first bytes say. Sources: lz4_Frame_format.md (legacy), xz-file-format.txt §2.1.1.1, RFC 8878, RFC 1952. */
export function packingOf(head: Buffer): Packing | undefined {
  const word = head.length < 4 ? 0 : head.readUInt32LE(0);
  if (word === 0x18_4c_21_02) return 'lz4';
  if (word === 0xfd_2f_b5_28) return 'zstd';
  if ((word & 0xffff) === 0x8b_1f) return 'gzip';
  return head.subarray(0, 6).equals(Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])) ? 'xz' : undefined;
}

/**
 * The plain bytes; `undefined` when they are damaged or more than `maxBytes`.
 *
 * @throws E_TIER_UNAVAILABLE when the program is not there
 */
export async function unpack(
  packed: Buffer,
  packing: Packing,
  maxBytes: number,
): Promise<Buffer | undefined> {
  if (packing !== 'gzip') return runFilter(UNPACK[packing], packed, maxBytes);
  try {
    return gunzipSync(packed, { maxOutputLength: maxBytes });
  } catch {
    return undefined;
  }
}

function runFilter(filter: Filter, input: Buffer, maxBytes: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(filter.program, filter.args, { stdio: ['pipe', 'pipe', 'ignore'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), FILTER_MS);
    const chunks: Buffer[] = [];
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > maxBytes) child.kill('SIGKILL');
      else chunks.push(chunk);
    });
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(systemCode(error) === 'ENOENT' ? noProgram(filter) : error);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve(code === 0 && bytes <= maxBytes ? Buffer.concat(chunks) : undefined);
    });
    // It may end before it has read everything; how it ended is what counts.
    child.stdin.on('error', () => undefined).end(input);
  });
}

function noProgram({ program, pkg }: Filter): Error {
  return machineError('program-missing', {
    why: `there is no program ${program}`,
    next: `Run scripts/setup.sh, or: sudo apt-get install ${pkg}`,
  });
}
