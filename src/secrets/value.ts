import { GloveboxError } from '../base/errors.ts';

/** Shorter ones would be found by accident in ordinary traffic; longer ones are no header value. */
export const SECRET_BYTES = { least: 8, most: 16 * 1024 } as const;

/**
 * Checks a secret's bytes, and takes one trailing newline off where the source is one that adds it. The input is overwritten when it
 * is refused.
 *
 * @throws E_CREDENTIAL_INVALID; the message holds a length at most.
 */
export function secretValue(bytes: Buffer, what: string, newline: 'strip' | 'keep'): Buffer {
  const value = newline === 'strip' ? withoutNewline(bytes) : bytes;
  const why = problemOf(value);
  if (why === undefined) return value;
  bytes.fill(0);
  throw new GloveboxError('E_CREDENTIAL_INVALID', { what: `${what} is not usable as a secret`, why });
}

function withoutNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== 0x0a) return bytes;
  return bytes.subarray(0, bytes.at(-2) === 0x0d ? -2 : -1);
}

function problemOf(value: Buffer): string | undefined {
  const { least, most } = SECRET_BYTES;
  if (value.length < least)
    return `it has ${value.length} bytes; at least ${least} are needed to recognise it`;
  if (value.length > most) return `it has more than ${most} bytes`;
  // RFC 9110 §5.5: control characters cannot stand in a header, and CR, LF and NUL would end it.
  if (value.some((byte) => byte < 0x20 || byte === 0x7f))
    return 'it holds a line break or another control byte';
  return undefined;
}
