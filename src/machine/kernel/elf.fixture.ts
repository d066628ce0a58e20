/** A small ELF file: one segment, and sections by name. */
export function elfFile(
  sections: Readonly<Record<string, string>> = {},
  options: { readonly machine?: number; readonly segment?: Buffer } = {},
): Buffer {
  const segment = options.segment ?? Buffer.from('a kernel');
  const all: Readonly<Record<string, string>> = {
    ...sections,
    '.shstrtab': ['', ...Object.keys(sections), '.shstrtab', ''].join('\0'),
  };
  const names = all['.shstrtab'] ?? '';
  const head = Buffer.alloc(64 + 56);
  head.write('\x7fELF\x02\x01\x01', 'latin1');
  head.writeUInt16LE(options.machine ?? 62, 18);
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(1, 56);
  head.writeBigUInt64LE(BigInt(head.length), 64 + 8);
  head.writeBigUInt64LE(BigInt(segment.length), 64 + 32);
  const parts = [head, segment];
  let end = head.length + segment.length;
  const table = Object.entries(all).map(([name, text]) => {
    const content = Buffer.from(text, 'latin1');
    const entry = Buffer.alloc(64);
    entry.writeUInt32LE(names.indexOf(`\0${name}\0`) + 1, 0);
    entry.writeBigUInt64LE(BigInt(end), 24);
    entry.writeBigUInt64LE(BigInt(content.length), 32);
    parts.push(content);
    end += content.length;
    return entry;
  });
  head.writeBigUInt64LE(BigInt(end), 40);
  head.writeUInt16LE(64, 58);
  head.writeUInt16LE(table.length, 60);
  head.writeUInt16LE(table.length - 1, 62);
  return Buffer.concat([...parts, ...table]);
}

/** A module that needs others. */
export function moduleFile(depends: readonly string[], more = ''): Buffer {
  return elfFile({ '.modinfo': `license=GPL\0depends=${depends.join(',')}\0${more}` });
}

/** A bzImage around a payload, which ends with the length of what is inside, as the kernel's makefiles leave it. */
export function bzImageFile(
  payload: Buffer,
  options: { readonly release?: string; readonly is64Bit?: boolean } = {},
): Buffer {
  const sectors = 2;
  const head = Buffer.alloc((sectors + 1) * 512);
  head[0x1f1] = sectors;
  head.writeUInt16LE(0xaa55, 0x1fe);
  head.write('HdrS', 0x202, 'latin1');
  head.writeUInt16LE(0x020f, 0x206);
  head.writeUInt16LE(0x300, 0x20e);
  head.write(`${options.release ?? '6.1.0-1-cloud-amd64'} (somebody) #1\0`, 0x500, 'latin1');
  head.writeUInt16LE(options.is64Bit === false ? 0 : 1, 0x236);
  head.writeUInt32LE(16, 0x248);
  head.writeUInt32LE(payload.length, 0x24c);
  return Buffer.concat([head, Buffer.alloc(16), payload, Buffer.alloc(100)]);
}

/** A packed kernel with the length of the plain one. */
export function withLength(packed: Buffer, plainBytes: number): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32LE(plainBytes);
  return Buffer.concat([packed, length]);
}
