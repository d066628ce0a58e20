import { isIPv4 } from 'node:net';
import type { Duplex } from 'node:stream';
import { GloveboxError } from '../base/errors.ts';
import { listenerBytes } from './boot.ts';
import type { Identity, PathBytes } from './contract.ts';
import { FrameDecoder, encodeFrame, protocolError } from './frames.ts';
import type { Frame } from './frames.ts';
import { readError } from './lifecycle.ts';
import type { CardNetwork, MachineMount, MachineSpec } from './machine-contract.ts';
import * as n from './numbers.ts';
import { TlvRecord, TlvWriter } from './tlv.ts';

/** The MACHINE frame. Throws `E_SANDBOX_START` when something does not fit. */
export function encodeMachineSpec(spec: MachineSpec): Buffer {
  const out = new TlvWriter().text(n.MACHINE_TAG.hostname, spec.hostname);
  out.bytes(n.MACHINE_TAG.id, machineId(spec.machineId)).bytes(n.MACHINE_TAG.seed, spec.seed);
  out.bytes(n.MACHINE_TAG.clock, u64(spec.clockNs));
  out.bytes(n.MACHINE_TAG.ids, idBytes(spec.identity));
  if (spec.network !== undefined) writeNetwork(out, spec.network);
  if (spec.share !== undefined) out.text(n.MACHINE_TAG.share, spec.share);
  if (spec.base !== undefined) out.text(n.MACHINE_TAG.base, spec.base);
  if (spec.files !== undefined) out.u32(n.MACHINE_TAG.files, spec.files);
  if (spec.copiedBytes !== undefined) out.u64(n.MACHINE_TAG.copied, spec.copiedBytes);
  for (const mount of spec.mounts) out.bytes(n.MACHINE_TAG.mount, mountBytes(mount));
  const flags =
    (spec.nesting === true ? n.MACHINE_FLAG.nesting : 0) |
    (spec.runtime === true ? n.MACHINE_FLAG.runtime : 0);
  if (flags !== 0) out.u32(n.MACHINE_TAG.flags, flags);
  return encodeFrame(n.FRAME.machine, 0, out.finish());
}

/** What THAW tells: a clock, and for a copy what makes it another machine. */
export function encodeThaw(
  how: Pick<MachineSpec, 'clockNs'> & Partial<Pick<MachineSpec, 'seed' | 'hostname' | 'machineId'>>,
): Buffer {
  const out = new TlvWriter().bytes(n.MACHINE_TAG.clock, u64(how.clockNs));
  if (how.hostname !== undefined) out.text(n.MACHINE_TAG.hostname, how.hostname);
  if (how.machineId !== undefined) out.bytes(n.MACHINE_TAG.id, machineId(how.machineId));
  if (how.seed !== undefined) out.bytes(n.MACHINE_TAG.seed, how.seed);
  return out.finish();
}

function refuse(what: string): GloveboxError {
  return new GloveboxError('E_SANDBOX_START', { what });
}

function machineId(text: string): Buffer {
  if (!/^[0-9a-f]{32}$/.test(text)) throw refuse(`"${text}" is no machine id: it has 32 hexadecimal digits`);
  return Buffer.from(text, 'hex');
}

function u64(value: bigint): Buffer {
  const data = Buffer.allocUnsafe(8);
  data.writeBigUInt64LE(value);
  return data;
}

function idBytes({ uid, gid }: Identity): Buffer {
  const data = Buffer.allocUnsafe(8);
  data.writeUInt32LE(uid, 0);
  data.writeUInt32LE(gid, 4);
  return data;
}

function writeNetwork(out: TlvWriter, network: NonNullable<MachineSpec['network']>): void {
  if ('vsockPort' in network) out.u32(n.MACHINE_TAG.vsock, network.vsockPort);
  else out.bytes(n.MACHINE_TAG.network, cardBytes(network));
  for (const listener of network.listeners) out.bytes(n.MACHINE_TAG.listener, listenerBytes(listener));
}

function cardBytes({ relay, relayPort }: CardNetwork): Buffer {
  const data = Buffer.alloc(6);
  addressBytes(relay).copy(data, 0);
  data.writeUInt16LE(relayPort, 4);
  return data;
}

function addressBytes(address: string): Buffer {
  if (!isIPv4(address)) throw refuse(`"${address}" is no address of IPv4`);
  return Buffer.from(address.split('.').map(Number));
}

function mountBytes(mount: MachineMount): Buffer {
  const kind = mount.kind === 'hidden' ? (mount.type === 'dir' ? 'hiddenDir' : 'hiddenFile') : mount.kind;
  const out = new TlvWriter().u8(n.MACHINE_MOUNT_TAG.kind, n.MACHINE_MOUNT_KIND[kind]);
  out.text(n.MACHINE_MOUNT_TAG.target, absolute(mount.target));
  if ('source' in mount) out.text(n.MACHINE_MOUNT_TAG.source, absolute(mount.source));
  if ('to' in mount) out.text(n.MACHINE_MOUNT_TAG.source, mount.to);
  if ('writable' in mount) out.u8(n.MACHINE_MOUNT_TAG.writable, mount.writable ? 1 : 0);
  if ('mode' in mount) out.u32(n.MACHINE_MOUNT_TAG.mode, mount.mode);
  if ('bytes' in mount) out.u64(n.MACHINE_MOUNT_TAG.bytes, mount.bytes);
  if ('content' in mount) out.bytes(n.MACHINE_MOUNT_TAG.content, mount.content);
  return out.finish();
}

function absolute(path: PathBytes): PathBytes {
  if (typeof path === 'string' ? path.startsWith('/') : path[0] === 0x2f) return path;
  throw refuse(`${String(path)} is not an absolute path`);
}

/**
 * Waits until a machine has booted and knows of no sandbox yet. It says nothing more before it is told the MACHINE frame; the BOOT frame
 * may follow at once. Make the session of the channel first. Rejects with what the machine said, `E_PROTOCOL`, or
 * `E_SANDBOX_START` when the channel ended.
 */
export async function machineReady(channel: Duplex): Promise<void> {
  const decoder = new FrameDecoder();
  const frame = await firstFrame(channel, decoder);
  if (frame.type === n.FRAME.error && frame.stream === 0) throw readError(frame.payload, false);
  if (frame.type !== n.FRAME.machineReady || frame.stream !== 0)
    throw protocolError(`frame type ${frame.type} before a machine is ready`);
  const version = new TlvRecord(frame.payload).u32(n.MACHINE_READY_TAG.version);
  if (version !== n.PROTOCOL_VERSION) throw protocolError(`a machine speaks version ${version}`);
  if (decoder.pending > 0)
    throw protocolError('a machine that was told nothing said more than that it is ready');
}

function firstFrame(channel: Duplex, decoder: FrameDecoder): Promise<Frame> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      channel.off('data', onData);
      channel.off('end', onEnd);
      channel.off('close', onEnd);
      channel.off('error', onEnd);
      act();
    };
    const onData = (chunk: Buffer): void => {
      try {
        for (const frame of decoder.push(chunk)) {
          settle(() => resolve(frame));
          return;
        }
      } catch (error) {
        settle(() => reject(error instanceof Error ? error : new Error(String(error))));
      }
    };
    const onEnd = (): void => settle(() => reject(refuse('the machine ended before it was ready')));
    channel.on('data', onData);
    for (const event of ['end', 'close', 'error']) channel.once(event, onEnd);
    channel.resume();
  });
}
