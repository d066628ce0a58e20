/** Where a bzImage keeps its kernel. Source: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header". */
export interface BzImage {
  /** The compressed kernel, as offsets into the file. */
  readonly payload: { readonly start: number; readonly end: number };
  readonly is64Bit: boolean;
  readonly release: string | undefined;
}

/** Bytes from the start of the file that `parseBzImage` wants: the boot sector and setup code, at most 64 sectors. */
export const SETUP_BYTES = 65 * 512;

/** Undefined for anything that is no bzImage of boot protocol 2.08 (Linux 2.6.26) or newer. */
export function parseBzImage(head: Buffer): BzImage | undefined {
  if (head.length < 0x268 || head.readUInt16LE(0x1fe) !== 0xaa55) return undefined;
  if (head.toString('latin1', 0x202, 0x206) !== 'HdrS' || head.readUInt16LE(0x206) < 0x0208) return undefined;
  // A zero there means four, for kernels older than any that is met.
  const setupSectors = head[0x1f1] || 4;
  const start = (setupSectors + 1) * 512 + head.readUInt32LE(0x248);
  return {
    payload: { start, end: start + head.readUInt32LE(0x24c) },
    // XLF_KERNEL_64, from protocol 2.12; older ones do not say, and the ELF header inside does.
    is64Bit: head.readUInt16LE(0x206) < 0x020c || (head.readUInt16LE(0x236) & 1) === 1,
    release: releaseOf(head),
  };
}

function releaseOf(head: Buffer): string | undefined {
  const pointer = head.readUInt16LE(0x20e);
  if (pointer === 0) return undefined;
  const text = head.toString('latin1', pointer + 0x200, pointer + 0x200 + 256);
  return /^[\w.+~-]{1,64}(?= )/.exec(text)?.[0];
}
