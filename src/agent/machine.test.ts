import { Duplex, PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { FRAME_HEADER_BYTES, encodeFrame } from './frames.ts';
import { encodeMachineSpec, machineReady } from './machine.ts';
import type { MachineMount, MachineSpec } from './machine-contract.ts';
import { ERROR_TAG, FRAME, MACHINE_MOUNT_TAG, MACHINE_READY_TAG, MACHINE_TAG } from './numbers.ts';
import { TlvRecord, TlvWriter, tlvRecords } from './tlv.ts';

const SPEC: MachineSpec = {
  hostname: 'box',
  machineId: '00112233445566778899aabbccddeeff',
  seed: Buffer.alloc(32, 1),
  clockNs: 0x1122334455667788n,
  identity: { uid: 1000, gid: 7 },
  mounts: [],
};

const recordsOf = (spec: MachineSpec): readonly { readonly tag: number; readonly value: Buffer }[] => [
  ...tlvRecords(encodeMachineSpec(spec).subarray(FRAME_HEADER_BYTES)),
];

const valueOf = (spec: MachineSpec, tag: number): string | undefined =>
  recordsOf(spec)
    .find((record) => record.tag === tag)
    ?.value.toString('hex');

describe('what a machine is told', () => {
  it('is a frame of its own, with every number in its place', () => {
    expect(encodeMachineSpec(SPEC).readUInt16LE(4)).toBe(FRAME.machine);
    expect(valueOf(SPEC, MACHINE_TAG.id)).toBe(SPEC.machineId);
    expect(valueOf(SPEC, MACHINE_TAG.clock)).toBe('8877665544332211');
    expect(valueOf(SPEC, MACHINE_TAG.ids)).toBe('e803000007000000');
    const network = { relay: '10.0.2.2', relayPort: 443, listeners: [] };
    expect(valueOf({ ...SPEC, network }, MACHINE_TAG.network)).toBe('0a000202bb01');
    expect(valueOf({ ...SPEC, network: { vsockPort: 1025, listeners: [] } }, MACHINE_TAG.vsock)).toBe(
      '01040000',
    );
    expect(valueOf(SPEC, MACHINE_TAG.files)).toBeUndefined();
    expect(valueOf({ ...SPEC, files: 20_000 }, MACHINE_TAG.files)).toBe('204e0000');
    expect(valueOf(SPEC, MACHINE_TAG.flags)).toBeUndefined();
    expect(valueOf({ ...SPEC, nesting: true }, MACHINE_TAG.flags)).toBe('01000000');
  });

  it('names the kind of a mount before anything else of it', () => {
    const mounts: readonly MachineMount[] = [
      { kind: 'base', source: '/usr', target: '/usr' },
      { kind: 'share', source: '/a', target: '/b', writable: true },
      { kind: 'symlink', target: '/bin', to: 'usr/bin' },
      { kind: 'dir', target: '/d', mode: 0o700 },
      { kind: 'tmpfs', target: '/tmp', bytes: 2 ** 33, mode: 0o1777 },
      { kind: 'proc', target: '/proc' },
      { kind: 'dev', target: '/dev' },
      { kind: 'hidden', target: '/x', type: 'file' },
      { kind: 'hidden', target: '/y', type: 'dir' },
      { kind: 'file', target: '/f', mode: 0o444, content: Buffer.from('text') },
    ];
    const found = recordsOf({ ...SPEC, mounts }).filter(({ tag }) => tag === MACHINE_TAG.mount);
    const records = found.map(({ value }) => new TlvRecord(value));
    expect(records.map((record) => record.tags[0])).toEqual(mounts.map(() => MACHINE_MOUNT_TAG.kind));
    expect(records.map((record) => record.u8(MACHINE_MOUNT_TAG.kind))).toEqual([
      1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
    ]);
    expect(records[1]?.u8(MACHINE_MOUNT_TAG.writable)).toBe(1);
    expect(records[4]?.u64(MACHINE_MOUNT_TAG.bytes)).toBe(2 ** 33);
    expect(records[9]?.bytes(MACHINE_MOUNT_TAG.content)?.toString()).toBe('text');
  });

  it.each<readonly [Partial<MachineSpec>, RegExp]>([
    [{ machineId: 'xyz' }, /machine id/],
    [{ hostname: 'a\0b' }, /NUL byte/],
    [{ mounts: [{ kind: 'proc', target: 'proc' }] }, /not an absolute path/],
    [{ network: { relay: 'fe80::1', relayPort: 1, listeners: [] } }, /no address of IPv4/],
  ])('is refused when it does not fit: %o', (more, why) => {
    expect(() => encodeMachineSpec({ ...SPEC, ...more })).toThrow(why);
  });
});

/** A channel on which the machine says this. */
function saying(...chunks: readonly Buffer[]): Duplex {
  const inside = new PassThrough();
  for (const chunk of chunks) inside.write(chunk);
  return Duplex.from({ readable: inside, writable: new PassThrough() });
}

const ready = (version = 1): Buffer =>
  encodeFrame(FRAME.machineReady, 0, new TlvWriter().u32(MACHINE_READY_TAG.version, version).finish());

describe('a machine that boots', () => {
  it('is ready when it says so, however it is cut', async () => {
    await machineReady(saying(ready()));
    await machineReady(saying(ready().subarray(0, 5), ready().subarray(5)));
  });

  it('is not when it says anything else, or more', async () => {
    const protocol = { code: 'E_PROTOCOL' };
    await expect(machineReady(saying(ready(2)))).rejects.toMatchObject(protocol);
    await expect(machineReady(saying(Buffer.concat([ready(), Buffer.from('x')])))).rejects.toMatchObject(
      protocol,
    );
    await expect(machineReady(saying(encodeFrame(FRAME.hello, 0)))).rejects.toMatchObject(protocol);
    await expect(machineReady(saying(Buffer.alloc(64, 0xff)))).rejects.toMatchObject(protocol);
  });

  it('says why it is not', async () => {
    const payload = new TlvWriter()
      .u32(ERROR_TAG.code, 1)
      .bytes(ERROR_TAG.stage, 'base')
      .bytes(ERROR_TAG.op, 'mount')
      .u32(ERROR_TAG.errno, 2)
      .bytes(ERROR_TAG.path, '/dev/vda')
      .finish();
    const outcome = machineReady(saying(encodeFrame(FRAME.error, 0, payload)));
    await expect(outcome).rejects.toThrow(/stage base\): mount: \/dev\/vda: ENOENT/);
  });

  it('is not when its channel ends first', async () => {
    const channel = saying(ready().subarray(0, 4));
    const outcome = machineReady(channel);
    channel.destroy();
    await expect(outcome).rejects.toMatchObject({ code: 'E_SANDBOX_START' });
  });
});
