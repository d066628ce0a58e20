import { createReadStream, statSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, isGloveboxError, systemCode } from '../base/errors.ts';
import { CODE_CAPS } from '../sandbox/code/caps.ts';
import type { CliIo } from './contract.ts';

/**
 * The code of a file, or of standard input for `-`, without a byte order mark.
 *
 * @throws E_USAGE when it cannot be read, is empty, too large or no UTF-8
 */
export async function readCode(file: string, io: CliIo): Promise<string> {
  const bytes = file === '-' ? await readStdin(io) : await readFile(file, path.resolve(io.cwd, file));
  const name = file === '-' ? 'standard input' : file;
  const text = decode(bytes, name);
  if (text.trim() === '') throw unreadable(name, 'it is empty');
  return text;
}

function readStdin(io: CliIo): Promise<Buffer> {
  if (io.stdin.isTTY) io.stderr.write('glovebox: reading code from the terminal; end it with Ctrl-D\n');
  return readAll('standard input', io.stdin);
}

async function readFile(name: string, at: string): Promise<Buffer> {
  try {
    if (statSync(at).isDirectory()) throw unreadable(name, 'it is a directory');
    return await readAll(name, createReadStream(at));
  } catch (error) {
    if (isGloveboxError(error)) throw error;
    const code = systemCode(error) ?? String(error);
    throw unreadable(name, code === 'ENOENT' ? 'there is no such file' : code);
  }
}

async function readAll(name: string, stream: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of stream) {
    if (!Buffer.isBuffer(piece)) continue;
    pieces.push(piece);
    size += piece.length;
    if (size > CODE_CAPS.codeBytes) throw unreadable(name, `it is larger than ${CODE_CAPS.codeBytes} bytes`);
  }
  return Buffer.concat(pieces);
}

function decode(bytes: Buffer, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw unreadable(name, 'it is not UTF-8');
  }
}

function unreadable(name: string, why: string): GloveboxError {
  return new GloveboxError('E_USAGE', {
    what: `cannot run ${name}`,
    why,
    next: 'Name a readable file with code, or - for standard input.',
  });
}
