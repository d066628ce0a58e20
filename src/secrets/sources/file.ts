import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { constants } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import type { SourceContext } from '../contract.ts';
import { isUntrusted } from '../untrusted.ts';
import { SECRET_BYTES, secretValue } from '../value.ts';

/** Room for a secret and its newline (CR LF). */
const READ_MAX = SECRET_BYTES.most + 2;

/** The content of a file without one trailing newline. Others who may read it are a warning: it is theirs already. */
export async function readFileSource(
  file: string,
  context: Pick<SourceContext, 'untrusted' | 'warn'>,
): Promise<Buffer> {
  if (!path.isAbsolute(file)) throw unreadable(file, 'the path is not absolute');
  // Otherwise a sandbox could make this read any file of the user's, and send it to the credential's host.
  if (isUntrusted(file, context.untrusted)) throw unreadable(file, 'a sandbox may write there');
  let handle: FileHandle | undefined;
  try {
    // Without O_NONBLOCK a FIFO would hold this up until somebody writes.
    handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    return secretValue(await readChecked(handle, file, context), `the file ${file}`, 'strip');
  } catch (error) {
    if (error instanceof GloveboxError) throw error;
    throw unreadable(file, systemCode(error) ?? 'it cannot be read');
  } finally {
    await handle?.close();
  }
}

async function readChecked(
  handle: FileHandle,
  file: string,
  context: Pick<SourceContext, 'warn'>,
): Promise<Buffer> {
  const stat = await handle.stat();
  if (!stat.isFile()) throw unreadable(file, 'it is not a regular file');
  if ((stat.mode & 0o077) !== 0)
    context.warn(`${file} holds a secret and others than its owner may read it: run chmod 600 ${file}`);
  const buffer = Buffer.alloc(READ_MAX + 1);
  const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
  if (bytesRead > READ_MAX) {
    buffer.fill(0);
    throw new GloveboxError('E_CREDENTIAL_INVALID', {
      what: `the file ${file} is not usable as a secret`,
      why: `it has more than ${SECRET_BYTES.most} bytes`,
    });
  }
  return buffer.subarray(0, bytesRead);
}

function unreadable(file: string, why: string): GloveboxError {
  return new GloveboxError('E_CREDENTIAL_SOURCE', { what: `cannot read the file ${file}`, why });
}
