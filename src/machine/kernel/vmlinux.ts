import type { Kernel } from '../contract.ts';
import { packingOf, unpack } from '../filter.ts';
import { machineError } from '../problem.ts';
import { parseBzImage } from './bzimage.ts';
import { elfEnd, elfHeader } from './elf.ts';
import { damaged, isArm64Image } from './find.ts';

/** What a kernel may unpack to; Debian's takes 53 MB. */
const PLAIN_BYTES = 512 * 1024 * 1024;

/**
 * The kernel in the form that QEMU boots at once: on x86-64 the ELF file inside of a bzImage (PVH, no real mode, no decompression under
 * emulation), on arm64 the plain Image.
 *
 * @throws E_TIER_UNAVAILABLE with `context.problem`: `kernel-damaged`, `kernel-arch`, `program-missing`
 */
export async function plainKernel(kernel: Kernel, bytes: Buffer): Promise<Buffer> {
  if (kernel.format === 'image') return plainImage(kernel, bytes);
  const elf = kernel.format === 'elf' ? bytes : await payloadOf(kernel, bytes);
  const header = elfHeader(elf);
  if (header === undefined) throw damaged(kernel.file, 'what it unpacks to is no ELF file of 64 bits');
  if (header.arch !== kernel.arch)
    throw machineError('kernel-arch', { why: `${kernel.file} is not a kernel for ${kernel.arch}` });
  if (elfEnd(elf, header) > elf.length) throw damaged(kernel.file, 'it is cut short');
  return elf;
}

async function payloadOf(kernel: Kernel, bytes: Buffer): Promise<Buffer> {
  const { start, end } = parseBzImage(bytes)?.payload ?? { start: 0, end: Number.POSITIVE_INFINITY };
  if (end > bytes.length || end - start < 8) throw damaged(kernel.file, 'it is cut short');
  const payload = bytes.subarray(start, end);
  if (elfHeader(payload) !== undefined) return payload;
  const packing = packingOf(payload);
  if (packing === undefined)
    throw damaged(kernel.file, 'its compression is unknown (not lz4, xz, zstd or gzip)');
  // Every format ends with the length of what is inside: gzip by itself, the others because the kernel's makefiles append it.
  const announced = payload.readUInt32LE(payload.length - 4);
  if (announced > PLAIN_BYTES) throw damaged(kernel.file, `it would unpack to ${announced} bytes`);
  const packed = packing === 'gzip' ? payload : payload.subarray(0, -4);
  const plain = await unpack(packed, packing, announced);
  if (plain?.length !== announced) throw damaged(kernel.file, `its ${packing} data cannot be read`);
  return plain;
}

async function plainImage(kernel: Kernel, bytes: Buffer): Promise<Buffer> {
  const image = packingOf(bytes) === 'gzip' ? await unpack(bytes, 'gzip', PLAIN_BYTES) : bytes;
  if (image === undefined || !isArm64Image(image))
    throw damaged(kernel.file, 'there is no Image of arm64 in it');
  return image;
}
