import { getSystemErrorName } from 'node:util';
import { GloveboxError } from '../base/errors.ts';
import type { ErrorCode } from '../base/errors.ts';
import type { AgentHello, AirlockReady, PlaceholderResult } from './contract.ts';
import { protocolError } from './frames.ts';
import { ERROR_CODE, ERROR_TAG, HELLO_FLAG, HELLO_TAG, PROTOCOL_VERSION, READY_TAG } from './numbers.ts';
import { TlvRecord, TlvWriter } from './tlv.ts';

const RESULT_NAMES: readonly (PlaceholderResult | undefined)[] = [
  undefined,
  'created',
  'joined',
  'skipped',
  'real',
  'blocked',
];

export function readReady(payload: Buffer): AirlockReady {
  const record = new TlvRecord(payload);
  const placeholders = new Map<number, PlaceholderResult>();
  for (const [index, value] of (record.bytes(READY_TAG.placeholders) ?? Buffer.alloc(0)).entries()) {
    if (value === 0) continue;
    const name = RESULT_NAMES[value];
    if (name === undefined) throw protocolError(`placeholder result ${value}`);
    placeholders.set(index, name);
  }
  return { ipv6: record.u8(READY_TAG.ipv6) === 1, placeholders };
}

export function readHello(payload: Buffer): AgentHello {
  const record = new TlvRecord(payload);
  const version = record.u32(HELLO_TAG.version);
  if (version !== PROTOCOL_VERSION) {
    throw protocolError(`the agent speaks version ${version}, this program speaks ${PROTOCOL_VERSION}`);
  }
  const flags = record.u32(HELLO_TAG.flags);
  return {
    version,
    landlockAbi: record.u32(HELLO_TAG.landlockAbi),
    landlock: (flags & HELLO_FLAG.landlock) !== 0,
    seccomp: (flags & HELLO_FLAG.seccomp) !== 0,
    keyring: (flags & HELLO_FLAG.keyring) !== 0,
    pid: record.u32(HELLO_TAG.pid),
    uid: record.u32(HELLO_TAG.uid),
    gid: record.u32(HELLO_TAG.gid),
  };
}

/** The payload of a HELLO that says the same. */
export function encodeHello(hello: AgentHello): Buffer {
  const flags =
    (hello.landlock ? HELLO_FLAG.landlock : 0) |
    (hello.seccomp ? HELLO_FLAG.seccomp : 0) |
    (hello.keyring ? HELLO_FLAG.keyring : 0);
  return new TlvWriter()
    .u32(HELLO_TAG.version, hello.version)
    .u32(HELLO_TAG.landlockAbi, hello.landlockAbi)
    .u32(HELLO_TAG.flags, flags)
    .u32(HELLO_TAG.pid, hello.pid)
    .u32(HELLO_TAG.uid, hello.uid)
    .u32(HELLO_TAG.gid, hello.gid)
    .finish();
}

/** The error that an ERROR frame stands for; `running` when the sandbox had started already. */
export function readError(payload: Buffer, running: boolean): GloveboxError {
  const record = new TlvRecord(payload);
  const errno = record.u32(ERROR_TAG.errno, 0);
  const stage = record.label(ERROR_TAG.stage, 32);
  const op = record.label(ERROR_TAG.op, 64);
  const where = record.label(ERROR_TAG.path, 4096);
  const message = record.label(ERROR_TAG.message);
  const cause = message === '' ? errnoName(errno) : message;
  return new GloveboxError(errorCode(record.u32(ERROR_TAG.code), running), {
    what: `${running ? 'the sandbox failed' : 'the sandbox could not start'} (stage ${stage})`,
    why: [op, where, cause].filter((part) => part !== '').join(': '),
    context: { stage, op, errno, path: where, message },
  });
}

function errorCode(code: number, running: boolean): ErrorCode {
  if (code === ERROR_CODE.maskLost) return 'E_MASK_LOST';
  if (code === ERROR_CODE.protocol) return 'E_PROTOCOL';
  return running ? 'E_SANDBOX_LOST' : 'E_SANDBOX_START';
}

/** `ENOENT` and the like; the number when it has no name. */
export function errnoName(errno: number): string {
  if (errno === 0) return '';
  return errno > 4095 ? String(errno) : getSystemErrorName(-errno);
}
