import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

// An HTTP server on two ports of 127.0.0.1: /ok answers two bytes, /bytes/N answers N. Prints the ports and ends with its stdin.

const CHUNK = Buffer.alloc(64 * 1024);

function answer(request: IncomingMessage, response: ServerResponse): void {
  const size = /^\/bytes\/(\d+)$/.exec(request.url ?? '')?.[1];
  if (size === undefined) {
    response.setHeader('content-length', 2);
    response.end('ok');
    return;
  }
  response.setHeader('content-length', size);
  send(response, Number(size));
}

function send(response: ServerResponse, bytes: number): void {
  let left = bytes;
  const more = (): void => {
    while (left > 0) {
      const part = left < CHUNK.length ? CHUNK.subarray(0, left) : CHUNK;
      left -= part.length;
      if (!response.write(part)) return;
    }
    response.end();
  };
  response.on('drain', more);
  more();
}

async function listen(): Promise<number> {
  const server = createServer({ keepAliveTimeout: 60_000 }, answer);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the origin has no port');
  return address.port;
}

process.stdout.write(`${JSON.stringify({ tcp: await listen(), http: await listen() })}\n`);
process.stdin.resume().on('end', () => process.exit(0));
