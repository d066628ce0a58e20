import path from 'node:path';
import { GloveboxError } from '../base/errors.ts';
import { pathToBytes } from '../base/path-bytes.ts';
import type {
  AirlockSpec,
  AssembledEntry,
  BootSpec,
  ExecSpec,
  FinishSpec,
  GuestSpec,
  ListenerSpec,
  MaskOp,
  PathBytes,
  ResourceLimit,
  ScanSpec,
} from './contract.ts';
import { encodeFrame } from './frames.ts';
import * as n from './numbers.ts';
import { TlvWriter } from './tlv.ts';

const bytesOf = (value: PathBytes): Uint8Array => (typeof value === 'string' ? Buffer.from(value) : value);

/** The AIRLOCK_SPEC frame. Throws `E_SANDBOX_START` when something does not fit. */
export function encodeAirlockSpec(spec: AirlockSpec): Buffer {
  const out = new TlvWriter().u32(n.AIRLOCK_TAG.parentPid, spec.parentPid);
  for (const group of spec.cgroups ?? []) out.text(n.AIRLOCK_TAG.cgroup, group);
  out.text(n.AIRLOCK_TAG.scratch, absolute(spec.scratch));
  for (const file of spec.files ?? []) {
    const record = new TlvWriter().text(n.SCRATCH_TAG.name, file.name).u32(n.SCRATCH_TAG.mode, file.mode);
    out.bytes(n.AIRLOCK_TAG.scratchFile, record.bytes(n.SCRATCH_TAG.content, file.content).finish());
  }
  for (const entry of spec.assembled ?? []) out.bytes(n.AIRLOCK_TAG.assembled, assembledBytes(entry));
  writeMasks(out, spec.masks ?? []);
  out.u8(n.AIRLOCK_TAG.network, spec.network ? 1 : 0);
  for (const listener of spec.listeners ?? []) out.bytes(n.AIRLOCK_TAG.listener, listenerBytes(listener));
  for (const argument of spec.argv) out.text(n.AIRLOCK_TAG.argv, argument);
  writeEnv(out, n.AIRLOCK_TAG.env, spec.env);
  return encodeFrame(n.FRAME.airlockSpec, 0, out.finish());
}

function assembledBytes(entry: AssembledEntry): Buffer {
  const record = new TlvWriter().u8(n.ASSEMBLED_TAG.kind, n.ASSEMBLED_KIND[entry.kind]);
  record.text(n.ASSEMBLED_TAG.name, pathToBytes(entry.name));
  if (entry.kind !== 'dir') record.text(n.ASSEMBLED_TAG.source, pathToBytes(entry.source));
  return record.finish();
}

function absolute(directory: string): string {
  if (path.isAbsolute(directory)) return directory;
  throw new GloveboxError('E_SANDBOX_START', { what: `${directory} is not an absolute path` });
}

/** Numbers each root when it is first met and writes it before the records that use it. */
class RootTable {
  readonly #indexes = new Map<string, number>();
  readonly #out: TlvWriter;
  readonly #tag: number;

  constructor(out: TlvWriter, tag: number) {
    this.#out = out;
    this.#tag = tag;
  }

  index(root: string): number {
    const known = this.#indexes.get(root);
    if (known !== undefined) return known;
    this.#out.text(this.#tag, absolute(root));
    this.#indexes.set(root, this.#indexes.size);
    return this.#indexes.size - 1;
  }
}

const COVER_FLAG = { hidden: n.MASK_FLAG.coverHidden, empty: 0, dot: n.MASK_FLAG.dotFile } as const;

function writeMasks(out: TlvWriter, masks: readonly MaskOp[]): void {
  const roots = new RootTable(out, n.AIRLOCK_TAG.root);
  for (const mask of masks) {
    const root = roots.index(mask.root);
    const missing = mask.missing === 'skip' ? n.MASK_FLAG.skipMissing : n.MASK_FLAG.mustExist;
    const cover = COVER_FLAG[mask.cover ?? 'hidden'];
    const head = Buffer.allocUnsafe(8);
    head.writeUInt8(n.MASK_KIND[mask.kind], 0);
    head.writeUInt8(n.MASK_EXPECT[mask.expect ?? 'any'], 1);
    head.writeUInt16LE(missing | cover, 2);
    head.writeUInt32LE(root, 4);
    out.bytes(n.AIRLOCK_TAG.mask, Buffer.concat([head, bytesOf(mask.path)]));
  }
}

/** A listener, as it stands in every message that has some. */
export function listenerBytes(listener: ListenerSpec): Buffer {
  const data = Buffer.alloc(8);
  data.writeUInt32LE(listener.id, 0);
  data.writeUInt8(n.LISTENER_PROTO[listener.proto], 4);
  data.writeUInt16LE(listener.port, 6);
  return data;
}

function writeEnv(out: TlvWriter, tag: number, env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (name === '' || name.includes('=')) {
      throw new GloveboxError('E_SANDBOX_START', {
        what: `"${name}" cannot be the name of an environment variable`,
      });
    }
    out.text(tag, `${name}=${value}`);
  }
}

/** The BOOT frame. */
export function encodeBootSpec(spec: BootSpec): Buffer {
  const out = new TlvWriter().u8(n.BOOT_TAG.mode, n.BOOT_MODE[spec.mode]);
  for (const { kind, path: at } of spec.verify ?? []) {
    out.text(n.BOOT_TAG.verify, Buffer.concat([Uint8Array.of(n.VERIFY_KIND[kind]), bytesOf(at)]));
  }
  for (const identity of spec.identities ?? []) {
    const head = Buffer.allocUnsafe(17);
    head.writeUInt8(n.VERIFY_KIND.identity, 0);
    head.writeBigUInt64LE(identity.ino, 1);
    head.writeUInt32LE(identity.major, 9);
    head.writeUInt32LE(identity.minor, 13);
    out.bytes(n.BOOT_TAG.verify, Buffer.concat([head, bytesOf(identity.path)]));
  }
  out.u8(n.BOOT_TAG.landlockMode, n.LANDLOCK_MODE[spec.landlock?.mode ?? 'off']);
  for (const rule of spec.landlock?.rules ?? []) {
    const head = Buffer.allocUnsafe(12);
    head.writeBigUInt64LE(rule.access, 0);
    head.writeUInt32LE(rule.optional === true ? n.LANDLOCK_FLAG.optional : 0, 8);
    out.bytes(n.BOOT_TAG.landlockRule, Buffer.concat([head, bytesOf(rule.path)]));
  }
  if (spec.seccomp !== undefined) out.bytes(n.BOOT_TAG.seccomp, spec.seccomp);
  writeLimits(out, n.BOOT_TAG.rlimit, spec.limits);
  if (spec.exec !== undefined) out.bytes(n.BOOT_TAG.exec, encodeExecSpec(spec.exec));
  const flags =
    (spec.keepCapabilities === true ? n.BOOT_FLAG.keepCapabilities : 0) |
    (spec.handChannel === true ? n.BOOT_FLAG.handChannel : 0) |
    (spec.guest?.ownNetwork === true ? n.BOOT_FLAG.ownNetwork : 0);
  if (flags !== 0) out.u32(n.BOOT_TAG.flags, flags);
  if (spec.guest !== undefined) writeGuest(out, spec.guest);
  return encodeFrame(n.FRAME.boot, 0, out.finish());
}

function writeGuest(out: TlvWriter, { identity, relay }: GuestSpec): void {
  const ids = Buffer.allocUnsafe(8);
  ids.writeUInt32LE(identity.uid, 0);
  ids.writeUInt32LE(identity.gid, 4);
  out.bytes(n.BOOT_TAG.ids, ids);
  if (relay === undefined) return;
  out.text(n.BOOT_TAG.relay, absolute(relay.path));
  for (const listener of relay.listeners) out.bytes(n.BOOT_TAG.listener, listenerBytes(listener));
}

function writeLimits(out: TlvWriter, tag: number, limits: readonly ResourceLimit[] | undefined): void {
  for (const limit of limits ?? []) {
    const data = Buffer.alloc(24);
    data.writeUInt32LE(limit.resource, 0);
    data.writeBigUInt64LE(limit.soft, 8);
    data.writeBigUInt64LE(limit.hard, 16);
    out.bytes(tag, data);
  }
}

/** The payload of an EXEC frame, also the command inside BOOT. */
export function encodeExecSpec(spec: ExecSpec): Buffer {
  if ((spec.argv[0] ?? '').length === 0)
    throw new GloveboxError('E_USAGE', { what: 'a command needs a name' });
  const out = new TlvWriter();
  for (const argument of spec.argv) out.text(n.EXEC_TAG.argv, argument);
  writeEnv(out, n.EXEC_TAG.env, spec.env);
  out.text(n.EXEC_TAG.cwd, absolute(spec.cwd));
  const stdio = spec.stdio ?? ['null', 'pipe', 'pipe'];
  out.bytes(
    n.EXEC_TAG.stdio,
    Uint8Array.from(stdio, (mode) => n.STDIO_KIND[mode]),
  );
  if (spec.terminal !== undefined) {
    out.bytes(n.EXEC_TAG.winsize, encodeWinsize(spec.terminal.rows, spec.terminal.cols));
  }
  writeLimits(out, n.EXEC_TAG.rlimit, spec.limits);
  if (spec.channel !== undefined) out.u8(n.EXEC_TAG.channel, spec.channel);
  return out.finish();
}

/** Rows and columns, each cut to 16 bits: the kernel keeps no more. */
export function encodeWinsize(rows: number, cols: number): Buffer {
  const data = Buffer.allocUnsafe(4);
  data.writeUInt16LE(Math.max(0, Math.min(rows, 0xffff)), 0);
  data.writeUInt16LE(Math.max(0, Math.min(cols, 0xffff)), 2);
  return data;
}

/** The FINISH_SPEC frame. */
export function encodeFinishSpec(spec: FinishSpec): Buffer {
  const out = new TlvWriter();
  const roots = new RootTable(out, n.FINISH_TAG.root);
  for (const placeholder of spec.placeholders ?? []) {
    const head = Buffer.allocUnsafe(4);
    head.writeUInt32LE(roots.index(placeholder.root));
    out.bytes(n.FINISH_TAG.path, Buffer.concat([head, bytesOf(placeholder.path)]));
  }
  if (spec.umask !== undefined) out.u32(n.FINISH_TAG.umask, spec.umask);
  if (spec.scan !== undefined) writeScan(out, spec.scan);
  return encodeFrame(n.FRAME.finishSpec, 0, out.finish());
}

function writeScan(out: TlvWriter, scan: ScanSpec): void {
  const since = Buffer.allocUnsafe(12);
  since.writeBigInt64LE(scan.sinceNs / 1_000_000_000n, 0);
  since.writeUInt32LE(Number(scan.sinceNs % 1_000_000_000n), 8);
  out.text(n.FINISH_TAG.scanRoot, absolute(scan.root)).bytes(n.FINISH_TAG.since, since);
  for (const pattern of scan.patterns) out.text(n.FINISH_TAG.pattern, pattern);
  if (scan.memory !== undefined) out.text(n.FINISH_TAG.memory, absolute(scan.memory));
  if (scan.maxResults !== undefined) out.u32(n.FINISH_TAG.maxResults, scan.maxResults);
  if (scan.maxEntries !== undefined) out.u32(n.FINISH_TAG.maxEntries, scan.maxEntries);
  if (scan.maxDepth !== undefined) out.u32(n.FINISH_TAG.maxDepth, scan.maxDepth);
}
