import type { Socket } from 'node:net';
import { GloveboxError } from '../../base/errors.ts';
import { ATTACH_LINE_BYTES } from './contract.ts';

/**
 * The first line of a connection as JSON; what came behind it is put back to be read again.
 *
 * @throws E_PROTOCOL for anything else, E_TIMEOUT when it does not come in time
 */
export function readLine(socket: Socket, limitMs: number): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(() => done(new GloveboxError('E_TIMEOUT', { what: 'no answer came' })), limitMs);
    const done = (outcome: GloveboxError | Buffer): void => {
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('close', onClose);
      socket.pause();
      if (outcome instanceof GloveboxError) return reject(outcome);
      const line = outcome.indexOf(10);
      if (outcome.length > line + 1) socket.unshift(outcome.subarray(line + 1));
      try {
        resolve(JSON.parse(outcome.toString('utf8', 0, line)));
      } catch {
        reject(garbage());
      }
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      size += chunk.length;
      if (chunk.includes(10)) done(Buffer.concat(chunks));
      else if (size > ATTACH_LINE_BYTES) done(garbage());
    };
    const onClose = (): void => done(new GloveboxError('E_SANDBOX_CLOSED', { what: 'the owner hung up' }));
    socket.on('data', onData);
    socket.once('close', onClose);
  });
}

export function writeLine(socket: Socket, value: unknown): void {
  socket.write(`${JSON.stringify(value)}\n`);
}

function garbage(): GloveboxError {
  return new GloveboxError('E_PROTOCOL', { what: 'the other process said something that is not a request' });
}
