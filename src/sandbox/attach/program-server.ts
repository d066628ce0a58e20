import type { Socket } from 'node:net';
import { isGloveboxError } from '../../base/errors.ts';
import type { Program } from '../handle.ts';
import type { ProgramRequest } from './contract.ts';
import { linesOf, piecesOf, sendLine } from './program-lines.ts';

/**
 * Shows a background command of this process to another one: its output from a cursor on and how it ended go there, input, signals and
 * the size of its terminal come from there. The command goes on when the other hangs up.
 */
export async function showProgram(socket: Socket, program: Program, request: ProgramRequest): Promise<void> {
  const left = new AbortController();
  socket.once('close', () => left.abort());
  void obey(socket, program);
  if (request.silent === true) return;
  try {
    for await (const { channel, data } of program.kept.read(request.cursor ?? program.kept.start, left)) {
      for (const piece of piecesOf(data)) await sendLine(socket, { [channel]: piece.toString('base64') });
    }
    await sendLine(socket, { exit: await program.process.exit });
  } catch (error) {
    if (isGloveboxError(error)) await sendLine(socket, { error });
  }
  socket.end();
}

async function obey(socket: Socket, { process }: Program): Promise<void> {
  for await (const { stdin, eof, signal, rows, cols } of linesOf(socket)) {
    if (typeof stdin === 'string' && process.stdin.writable)
      await written(process.stdin, Buffer.from(stdin, 'base64'));
    if (eof === true) process.stdin.end();
    if (isNumber(signal) && signal > 0 && signal <= 64) process.kill(signal);
    if (isNumber(rows) && isNumber(cols)) process.resize(rows, cols);
    await sendLine(socket, { taken: true });
  }
}

const isNumber = (value: unknown): value is number => Number.isInteger(value);

function written(stdin: Program['process']['stdin'], data: Buffer): Promise<void> {
  return new Promise((resolve) => void stdin.write(data, () => resolve()));
}
