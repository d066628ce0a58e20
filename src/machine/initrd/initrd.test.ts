import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { cpioArchive } from './cpio.ts';
import { initrdArchive } from './initrd.ts';

describe('cpioArchive', () => {
  it('is what the kernel documents, byte for byte', () => {
    const archive = cpioArchive([
      { kind: 'dir', name: 'dev' },
      { kind: 'device', name: 'dev/console', mode: 0o600, major: 5, minor: 1 },
      { kind: 'file', name: 'init', mode: 0o755, content: Buffer.from('hello') },
    ]);
    // ino, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, checksum
    const head = (...fields: readonly string[]): string =>
      `070701${fields.map((field) => field.padStart(8, '0')).join('')}`;
    const expected = [
      head('1', '41ed', '0', '0', '2', '0', '0', '0', '0', '0', '0', '4', '0'),
      'dev\0\0\0',
      head('2', '2180', '0', '0', '1', '0', '0', '0', '0', '5', '1', 'c', '0'),
      'dev/console\0\0\0',
      head('3', '81ed', '0', '0', '1', '0', '5', '0', '0', '0', '0', '5', '0'),
      'init\0\0hello\0\0\0',
      head('0', '0', '0', '0', '1', '0', '0', '0', '0', '0', '0', 'b', '0'),
      'TRAILER!!!\0\0\0\0',
    ];
    expect(archive.toString('latin1')).toBe(expected.join(''));
    expect(archive.length % 4).toBe(0);
  });
});

describe('initrdArchive', () => {
  it('is the same for the same parts, and says the order of the modules', () => {
    const modules = [
      { name: 'virtio', content: Buffer.from('one') },
      { name: 'virtio_blk', content: Buffer.from('two') },
    ];
    const archive = initrdArchive(Buffer.from('agent'), modules);
    expect(archive).toEqual(initrdArchive(Buffer.from('agent'), modules));
    expect(archive.toString('latin1')).toContain('/lib/modules/virtio.ko\n/lib/modules/virtio_blk.ko\n');
    const nested = initrdArchive(Buffer.from('agent'), modules, Buffer.from('runtime')).toString('latin1');
    expect([archive.includes('runsc'), nested.includes('runsc'), nested.includes('runtime')]).toEqual([
      false,
      true,
      true,
    ]);
    expect(createHash('sha256').update(archive).digest('hex')).toBe(
      '3c063c2e3e29a751cd42d22b05df02423dd72dc74814fd4f8703ac4a93b7fec9',
    );
  });
});
