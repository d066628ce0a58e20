import type { MachineArch } from '../contract.ts';

/** e_machine (elf.h). */
const MACHINES: Readonly<Record<number, MachineArch>> = { 62: 'x86_64', 183: 'aarch64' };

/** A 64-bit little-endian ELF file, by its header. Offsets and sizes in bytes. Source: elf(5). */
export interface ElfHeader {
  /** Undefined for one that no guest can have. */
  readonly arch: MachineArch | undefined;
  readonly programs: ElfTable;
  readonly sections: ElfTable;
  /** Index of the section that holds the names of sections. */
  readonly namesIndex: number;
}

interface ElfTable {
  readonly offset: number;
  readonly entryBytes: number;
  readonly count: number;
}

/** Any ELF file; what is not of 64 bits and little-endian has no header that is looked at. */
export function isElf(head: Buffer): boolean {
  return head.length >= 4 && head.readUInt32BE(0) === 0x7f_45_4c_46;
}

/** Undefined for anything else. `head` are the first 64 bytes or more. */
export function elfHeader(head: Buffer): ElfHeader | undefined {
  if (head.length < 64 || !isElf(head) || head[4] !== 2 || head[5] !== 1) return undefined;
  return {
    arch: MACHINES[head.readUInt16LE(18)],
    programs: tableAt(head, 32, 54),
    sections: tableAt(head, 40, 58),
    namesIndex: head.readUInt16LE(62),
  };
}

function tableAt(head: Buffer, offsetAt: number, sizesAt: number): ElfTable {
  return {
    offset: Number(head.readBigUInt64LE(offsetAt)),
    entryBytes: head.readUInt16LE(sizesAt),
    count: head.readUInt16LE(sizesAt + 2),
  };
}

/** Where the last byte of the file must be for all tables and segments to be there: a shorter one is cut. */
export function elfEnd(file: Buffer, header: ElfHeader): number {
  const { programs, sections } = header;
  const tables = [programs, sections].map(({ offset, entryBytes, count }) => offset + entryBytes * count);
  const segments = Array.from({ length: programs.count }, (_, i) => {
    const at = programs.offset + i * programs.entryBytes;
    if (programs.entryBytes < 56 || at + 56 > file.length) return Number.POSITIVE_INFINITY;
    return Number(file.readBigUInt64LE(at + 8)) + Number(file.readBigUInt64LE(at + 32));
  });
  return Math.max(64, ...tables, ...segments);
}

/** The content of a section by name; undefined where there is none, or the file is not what its tables say. */
export function elfSection(file: Buffer, name: string): Buffer | undefined {
  const header = elfHeader(file);
  if (header === undefined || header.sections.entryBytes < 64) return undefined;
  const { offset, entryBytes, count } = header.sections;
  if (offset + entryBytes * count > file.length) return undefined;
  const content = (index: number): Buffer => {
    const at = offset + index * entryBytes;
    const start = Number(file.readBigUInt64LE(at + 24));
    return file.subarray(start, start + Number(file.readBigUInt64LE(at + 32)));
  };
  if (header.namesIndex >= count) return undefined;
  const names = content(header.namesIndex);
  for (let i = 0; i < count; i++) {
    const at = file.readUInt32LE(offset + i * entryBytes);
    const end = names.indexOf(0, at);
    if (end !== -1 && names.toString('latin1', at, end) === name) return content(i);
  }
  return undefined;
}
