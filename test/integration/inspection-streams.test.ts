import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Command, Sandbox } from '../../src/index.ts';
import { PYTHON, until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import {
  expectRecord,
  inside,
  inspected,
  Outside,
  SampleOrigin,
  sumOf,
  tlsOrigin,
  WAYS,
  type LocalServer,
} from '../support/inspection.ts';
import { expectNothingLeft } from '../support/tree.ts';

const HOST = 'api.example.test';
const BASE = `https://${HOST}`;
const RULE = { id: 'api', host: HOST, methods: ['GET', 'PUT', 'POST'], paths: ['/v1/**'], http2: true };
const MIB = 1024 * 1024;
const TOTAL = 50 * MIB;
/** What may lie on the way while nobody reads: buffers of two processes and of the kernel's four sockets. */
const ON_THE_WAY = 24 * MIB;
/** What the gateway and the origin, which is in the same process, may hold of it. */
const IN_MEMORY = 12 * MIB;

const VERSIONS = ['--http1.1', '--http2'] as const;

/** An origin that does one step at a time, as the test says. */
class SteppedOrigin extends SampleOrigin {
  events: Http2ServerResponse | undefined;
  /** The request whose body is not read by itself. */
  upload: { readonly request: Http2ServerRequest; readonly response: Http2ServerResponse } | undefined;
  /** Bytes of the flood that were taken off its source. */
  flooded = 0;

  forget(): void {
    this.events = undefined;
    this.upload = undefined;
    this.flooded = 0;
  }

  readonly stepped = (request: Http2ServerRequest, response: Http2ServerResponse): void => {
    if (request.url === '/v1/events') {
      this.events = response;
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('data: 1\n\n');
    } else if (request.url === '/v1/upload') this.upload = { request, response };
    else if (request.url === '/v1/flood') this.#flood().pipe(response);
    else this.handler(request, response);
  };

  #flood(): Readable {
    this.flooded = 0;
    return Readable.from(this.#blocks(Buffer.alloc(65_536, 'flood')), { objectMode: false });
  }

  *#blocks(block: Buffer): Generator<Buffer> {
    for (; this.flooded < TOTAL; this.flooded += block.length) yield block;
  }
}

const origin = new SteppedOrigin();
let outside: Outside;
let server: LocalServer;
let box: TestBox;
let sandbox: Sandbox;

beforeAll(async () => {
  outside = new Outside([HOST]);
  server = await tlsOrigin(outside, origin.stepped);
  box = new TestBox();
  sandbox = await inspected(box, { rules: [RULE], sites: { [HOST]: server.port }, outside });
});

afterAll(async () => {
  await sandbox?.kill();
  await expectNothingLeft(box);
  await server?.[Symbol.asyncDispose]();
  box?.[Symbol.dispose]();
  outside?.[Symbol.dispose]();
});

/** Waits until a number has not changed for a while; answers it. */
async function standstill(count: () => number): Promise<number> {
  for (let last = -1, same = 0; ; last = count()) {
    same = count() === last ? same + 1 : 0;
    if (same === 8) return last;
    await delay(60);
  }
}

describe.each(WAYS)('nothing is held, $way', (way) => {
  it.each(VERSIONS)('server-sent events arrive before the next one is sent (%s)', async (version) => {
    origin.forget();
    let text = '';
    const argv = way.wrap(['curl', '-sSN', version, `${BASE}/v1/events`]);
    const command = sandbox.commands.start(argv, { onStdout: (piece) => (text += piece) });
    for (const n of [1, 2, 3, 4]) {
      await until(() => text.includes(`data: ${n}\n\n`), `event ${n}`);
      origin.events?.write(`data: ${n + 1}\n\n`);
    }
    origin.events?.end();
    expect(await command.wait()).toMatchObject({ exitCode: 0, stdout: text });
    await expectRecord(box, 'network.request', { action: 'allow', entry: way.entry, path: '/v1/events' });
  });

  it.each(VERSIONS)('a body arrives while it is still being sent (%s)', async (version) => {
    origin.forget();
    const argv = way.wrap(['curl', '-sSN', version, '-T', '-', `${BASE}/v1/upload`]);
    const command = sandbox.commands.start(argv, { stdin: true });
    let text = '';
    for (const word of ['one ', 'two ', 'three ']) {
      command.stdin.write(word);
      await until(() => origin.upload !== undefined, 'the request');
      if (text === '') origin.upload?.request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      await until(() => text.endsWith(word), word);
    }
    command.stdin.end();
    origin.upload?.request.on('end', () => origin.upload?.response.end('whole'));
    expect(await command.wait()).toMatchObject({ exitCode: 0, stdout: 'whole', stderr: '' });
    expect(text).toBe('one two three ');
  });

  it('Expect: 100-continue is answered before the body, and a refusal spares it', async () => {
    const curl = ['curl', '-sSv', '--http1.1', '-H', 'Expect: 100-continue', '--expect100-timeout', '30'];
    const body = ['-d', 'x'.repeat(5000), '-w', ' %{size_upload}'];
    const got = await inside(sandbox, way.wrap([...curl, ...body, `${BASE}/v1/sum`]));
    expect(got.stdout).toBe(`${sumOf(Buffer.alloc(5000, 'x'))} 5000`);
    expect(got.stderr.indexOf('100 Continue')).toBeGreaterThan(0);
    expect(got.stderr.indexOf('100 Continue')).toBeLessThan(got.stderr.indexOf('200 OK'));
    const no = await inside(sandbox, way.wrap([...curl, ...body, `${BASE}/files/x`]));
    expect(no.stdout).toMatch(/"rule":"api.paths".*\n? 0$/s);
    expect(no.stderr).not.toContain('100 Continue');
    const refused = { action: 'deny', entry: way.entry, path: '/files/x', status: 403, upBytes: 0 };
    await expectRecord(box, 'network.request', refused);
  });

  it('a chunked upload of unknown length arrives whole', async () => {
    const script = `head -c 3000017 /dev/zero | curl -sS --http1.1 -H 'Transfer-Encoding: chunked' -T - ${BASE}/v1/sum`;
    const got = await inside(sandbox, way.wrap(['bash', '-c', script]));
    expect(got).toMatchObject({ exitCode: 0, stdout: sumOf(Buffer.alloc(3_000_017)) });
    await expectRecord(box, 'network.request', { method: 'PUT', entry: way.entry, upBytes: 3_000_017 });
  });
});

describe('longer than the windows in which a flood is counted', () => {
  it.concurrent.each(VERSIONS)('an upload of 11 s is not cut (%s)', async (version) => {
    const source = `import sys, time
for i in range(110):
    sys.stdout.buffer.write(b'u' * 65536); sys.stdout.buffer.flush(); time.sleep(0.1)`;
    const script = `"$0" -c "$1" | curl -sS ${version} -T - ${BASE}/v1/sum`;
    const got = await inside(sandbox, ['bash', '-c', script, PYTHON, source]);
    expect(got).toMatchObject({ exitCode: 0, stdout: sumOf(Buffer.alloc(110 * 65_536, 'u')), stderr: '' });
  });
});

describe.each(WAYS)('50 MB with a slow reader, $way', (way) => {
  it.each(VERSIONS)('download (%s)', async (version) => {
    const sum = sumOf(Buffer.alloc(TOTAL, Buffer.alloc(65_536, 'flood')));
    origin.forget();
    const before = process.memoryUsage().arrayBuffers;
    const script = `exec 3<&0; curl -sS ${version} ${BASE}/v1/flood | { read -r x <&3; sha256sum; }`;
    const command = sandbox.commands.start(way.wrap(['bash', '-c', script]), { stdin: true });
    await until(() => origin.flooded > 0, 'the request');
    expect(await standstill(() => origin.flooded)).toBeLessThan(ON_THE_WAY);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(IN_MEMORY);
    command.stdin.write('go\n');
    expect((await command.wait()).stdout.slice(0, 64)).toBe(sum.split(' ')[1]);
    await expectRecord(box, 'network.request', { entry: way.entry, path: '/v1/flood', downBytes: TOTAL });
  });

  it.each(VERSIONS)('upload (%s)', async (version) => {
    origin.forget();
    let sent = 0;
    const before = process.memoryUsage().arrayBuffers;
    const source = `import sys
for i in range(${TOTAL / 65_536}):
    sys.stdout.buffer.write(b'u' * 65536); sys.stdout.buffer.flush(); sys.stderr.write('.'); sys.stderr.flush()`;
    const script = `"$0" -c "$1" | curl -sS ${version} -T - ${BASE}/v1/upload`;
    const command: Command = sandbox.commands.start(way.wrap(['bash', '-c', script, PYTHON, source]), {
      onStderr: (dots) => (sent += dots.length * 65_536),
    });
    await until(() => origin.upload !== undefined, 'the request');
    expect(await standstill(() => sent)).toBeLessThan(ON_THE_WAY);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(IN_MEMORY);
    let bytes = 0;
    origin.upload?.request.on('data', (chunk: Buffer) => (bytes += chunk.length));
    origin.upload?.request.on('end', () => origin.upload?.response.end(String(bytes)));
    expect(await command.wait()).toMatchObject({ exitCode: 0, stdout: String(TOTAL) });
    await expectRecord(box, 'network.request', { entry: way.entry, path: '/v1/upload', upBytes: TOTAL });
  });
});
