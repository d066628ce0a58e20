/** One entry of an archive; names are relative, ASCII. */
export type CpioEntry =
  | { readonly kind: 'dir'; readonly name: string }
  | { readonly kind: 'file'; readonly name: string; readonly mode: number; readonly content: Buffer }
  | {
      readonly kind: 'device';
      readonly name: string;
      readonly mode: number;
      readonly major: number;
      readonly minor: number;
    };

/** Type bits of st_mode (inode(7)). */
const TYPE = { dir: 0o040000, file: 0o100000, device: 0o020000 } as const;
const DIR_MODE = 0o755;

/**
 * A cpio archive of the format `newc`, as kernels unpack it. Everything belongs to 0:0 and to the start of time, so that equal entries
 * give equal bytes. Source: Documentation/driver-api/early-userspace/buffer-format.rst. Pure.
 */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.map((entry, index) => record(entry, index + 1));
  return Buffer.concat([...parts.flat(), ...recordOf('TRAILER!!!', { ino: 0, mode: 0, nlink: 1 }, NOTHING)]);
}

const NOTHING = Buffer.alloc(0);

function record(entry: CpioEntry, ino: number): readonly Buffer[] {
  const { kind, name } = entry;
  if (kind === 'dir') return recordOf(name, { ino, mode: TYPE.dir | DIR_MODE, nlink: 2 }, NOTHING);
  const head = { ino, mode: TYPE[kind] | entry.mode, nlink: 1 };
  if (kind === 'file') return recordOf(name, head, entry.content);
  return recordOf(name, { ...head, device: [entry.major, entry.minor] }, NOTHING);
}

interface Head {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly device?: readonly [number, number];
}

function recordOf(name: string, head: Head, content: Buffer): readonly Buffer[] {
  const [major, minor] = head.device ?? [0, 0];
  const fields = [
    ...[head.ino, head.mode, 0, 0, head.nlink, 0, content.length],
    ...[0, 0, major, minor, Buffer.byteLength(name) + 1, 0],
  ];
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return [padded(Buffer.from(text, 'latin1')), padded(content)];
}

/** Header with name, and content, each end on a multiple of four. */
function padded(bytes: Buffer): Buffer {
  const rest = bytes.length % 4;
  return rest === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(4 - rest)]);
}
