import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Sandbox } from '../../src/index.ts';
import { PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import {
  expectRecord,
  inside,
  inspected,
  missing,
  nodeProgram,
  Outside,
  pattern,
  recorded,
  SampleOrigin,
  sumOf,
  tlsOrigin,
  WAYS,
  type LocalServer,
  type Way,
} from '../support/inspection.ts';
import { expectNothingLeft } from '../support/tree.ts';

const HOST = 'api.example.test';
const BASE = `https://${HOST}`;
const RULE = { id: 'api', host: HOST, methods: ['GET', 'POST', 'PUT'], paths: ['/v1/**'], http2: true };
const UPLOAD = pattern(3 * 1024 * 1024 + 17);

let outside: Outside;
let server: LocalServer;
let box: TestBox;
let sandbox: Sandbox;
const origin = new SampleOrigin();

beforeAll(async () => {
  outside = new Outside([HOST]);
  server = await tlsOrigin(outside, origin.handler);
  box = new TestBox();
  box.write('upload', UPLOAD);
  sandbox = await inspected(box, { rules: [RULE], sites: { [HOST]: server.port }, outside });
});

afterAll(async () => {
  await sandbox?.kill();
  await expectNothingLeft(box);
  await server?.[Symbol.asyncDispose]();
  box?.[Symbol.dispose]();
  outside?.[Symbol.dispose]();
});

/** What the origin saw since the last look. */
const arrived = (): typeof origin.seen => origin.seen.splice(0);

/** An allowed request by this way has its record; `http` is the client's version. */
async function expectAllowed(way: Way, path: string, more: object = {}): Promise<void> {
  const data = { action: 'allow', rule: 'api', entry: way.entry, host: HOST, port: 443, path, status: 200 };
  await expectRecord(box, 'network.request', { ...data, ...more });
}

async function expectRefused(way: Way, path: string, more: object = {}): Promise<void> {
  const data = { action: 'deny', rule: 'api.paths', entry: way.entry, host: HOST, path, status: 403 };
  await expectRecord(box, 'network.request', { ...data, ...more });
}

describe.each(WAYS)('curl $way', (way) => {
  const curl = (...args: string[]): ReturnType<typeof inside> =>
    inside(sandbox, way.wrap(['curl', '-sS', ...args]));

  it.each([
    ['--http1.1', '1.1'],
    ['--http2', '2'],
  ])(`gets over HTTP with %s${missing('curl')}`, async (flag, version) => {
    const path = `/v1/hello/${version}/${way.entry}`;
    const got = await curl(flag, '-w', ' %{http_version} %{ssl_verify_result}', BASE + path);
    expect(got).toMatchObject({ exitCode: 0, stdout: `hello over 2.0 ${version} 0`, stderr: '' });
    await expectAllowed(way, path, { http: version, method: 'GET' });
  });

  it.each(['--http1.1', '--http2'])(
    `posts a form and uploads a file with %s${missing('curl')}`,
    async (flag) => {
      const form = await curl(flag, '-d', 'a=1&b=two', `${BASE}/v1/sum`);
      expect(form).toMatchObject({ exitCode: 0, stdout: sumOf(Buffer.from('a=1&b=two')) });
      const file = await curl(flag, '-T', 'upload', `${BASE}/v1/sum`);
      expect(file).toMatchObject({ exitCode: 0, stdout: sumOf(UPLOAD) });
      await expectAllowed(way, '/v1/sum', { method: 'PUT', upBytes: UPLOAD.length });
    },
  );

  it.each(['--http1.1', '--http2'])(`downloads with %s${missing('curl')}`, async (flag) => {
    const got = await curl(flag, '-o', 'down', '-w', '%{size_download}', `${BASE}/v1/bytes?n=5000001`);
    expect(got).toMatchObject({ exitCode: 0, stdout: '5000001' });
    expect(sumOf(Buffer.from(box.read('down')))).toBe(sumOf(pattern(5_000_001)));
    await expectAllowed(way, '/v1/bytes', { queryNames: ['n'], downBytes: 5_000_001 });
  });

  it.each(['--http1.1', '--http2'])(`is refused readably with %s${missing('curl')}`, async (flag) => {
    arrived();
    const path = `/files/${way.entry}${flag}`;
    const got = await curl(flag, '--fail-with-body', '-D', '-', BASE + path);
    expect(got.exitCode).toBe(22);
    expect(got.stdout.toLowerCase()).toContain('x-glovebox-denied: api.paths');
    expect(JSON.parse(got.stdout.split('\r\n\r\n').at(-1) ?? '')).toMatchObject({
      status: 403,
      rule: 'api.paths',
    });
    expect((await curl(flag, '--fail', BASE + path)).exitCode).toBe(22);
    expect(arrived()).toEqual([]);
    await expectRefused(way, path);
  });
});

describe.each(WAYS)('other programs $way', (way) => {
  it(`openssl s_client verifies${missing('openssl')}`, async () => {
    const proxy = way.entry === 'http-proxy' ? '-proxy ${http_proxy#http://}' : '';
    const path = `/v1/openssl/${way.entry}`;
    const script = `printf 'GET ${path} HTTP/1.1\\r\\nHost: ${HOST}\\r\\nConnection: close\\r\\n\\r\\n' |
openssl s_client ${proxy} -connect ${HOST}:443 -servername ${HOST} -verify_hostname ${HOST} -verify_return_error -x509_strict -ign_eof`;
    const got = await inside(sandbox, ['bash', '-c', script]);
    expect(got.exitCode, got.stderr).toBe(0);
    expect(got.stdout).toContain('Verify return code: 0 (ok)');
    expect(got.stdout).toContain('hello over');
    await expectAllowed(way, path, { http: '1.1' });
  });

  it.skipIf(missing('wget') !== '')(`wget gets, and shows the refusal${missing('wget')}`, async () => {
    const path = `/v1/wget/${way.entry}`;
    const got = await inside(sandbox, way.wrap(['wget', '-q', '-O-', BASE + path]));
    expect(got).toMatchObject({ exitCode: 0, stdout: 'hello over 2.0' });
    await expectAllowed(way, path);
    const no = await inside(
      sandbox,
      way.wrap(['wget', '-q', '--content-on-error', '-O-', `${BASE}/files/w`]),
    );
    expect(no.exitCode).toBe(8);
    expect(no.stdout).toContain('"rule":"api.paths"');
  });

  it('Python urllib and requests verify, post and read the refusal', async () => {
    const got = await inside(sandbox, way.wrap([PYTHON, '-c', PYTHON_CLIENT, BASE, way.entry]));
    expect(got).toMatchObject({ exitCode: 0, stderr: '' });
    const sum = sumOf(Buffer.alloc(100_000, 'x'));
    expect(JSON.parse(got.stdout)).toEqual([
      ['hello over 2.0', sum, 403, 'api.paths'],
      ['hello over 2.0', sum, 403, 'api.paths'],
    ]);
    await expectAllowed(way, `/v1/urllib/${way.entry}`);
    await expectAllowed(way, `/v1/requests/${way.entry}`);
    await expectRefused(way, `/files/requests/${way.entry}`);
  });
});

const PYTHON_CLIENT = `
import json, sys, urllib.request, urllib.error, requests
base, entry = sys.argv[1:]
data = b'x' * 100000
def by_urllib():
    hello = urllib.request.urlopen(f'{base}/v1/urllib/{entry}').read().decode()
    total = urllib.request.urlopen(f'{base}/v1/sum', data=data).read().decode()
    try: urllib.request.urlopen(f'{base}/files/urllib/{entry}')
    except urllib.error.HTTPError as error: return [hello, total, error.code, json.load(error)['rule']]
def by_requests():
    with requests.Session() as session:
        hello = session.get(f'{base}/v1/requests/{entry}').text
        total = session.post(f'{base}/v1/sum', data=(data[i:i + 1000] for i in range(0, 100000, 1000))).text
        refused = session.get(f'{base}/files/requests/{entry}')
        return [hello, total, refused.status_code, refused.json()['rule']]
print(json.dumps([by_urllib(), by_requests()]))
`;

describe.each(WAYS)('Node $way', (way) => {
  const node = (script: string): ReturnType<typeof inside> => inside(sandbox, nodeProgram(way, script));

  it('https keeps one connection for many requests', async () => {
    const got = await node(`
import https from 'node:https';
const one = agent({ keepAlive: true, maxSockets: 1 });
const get = (path) => new Promise((ok, no) => https.get('${BASE}' + path, { agent: one }, (r) => {
  let text = ''; const reused = r.req.reusedSocket; r.on('data', (d) => text += d).on('end', () => ok([r.statusCode, text, reused])); }).on('error', no));
const all = []; for (let i = 0; i < 3; i++) all.push(await get('/v1/https/${way.entry}/' + i));
console.log(JSON.stringify(all)); one.destroy();`);
    expect(got).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(got.stdout)).toEqual(
      [false, true, true].map((reused) => [200, 'hello over 2.0', reused]),
    );
    await expectAllowed(way, `/v1/https/${way.entry}/2`, { http: '1.1' });
  });

  it('http2 has many streams at once, a refusal is of its stream alone', async () => {
    const got = await node(`
import http2 from 'node:http2';
const socket = await tunnel('${HOST}');
const session = http2.connect('${BASE}', socket && { createConnection: () => tlsOf.connect({ socket, servername: '${HOST}', ALPNProtocols: ['h2'] }) });
const get = (path, body) => new Promise((ok, no) => {
  const stream = session.request({ ':path': path, ':method': body ? 'POST' : 'GET' });
  let status, text = ''; stream.on('response', (h) => status = h[':status']).on('data', (d) => text += d).on('end', () => ok([status, text])).on('error', no);
  stream.end(body); });
const all = await Promise.all(Array.from({ length: 20 }, (_, i) => i % 5 === 4 ? get('/files/h2') : get('/v1/sum', 'body ' + i)));
console.log(JSON.stringify(all.map(([status, text]) => [status, status === 200 ? text : JSON.parse(text).rule]))); session.close();`);
    expect(got).toMatchObject({ exitCode: 0, stderr: '' });
    const wanted = Array.from({ length: 20 }, (_, i) =>
      i % 5 === 4 ? [403, 'api.paths'] : [200, sumOf(Buffer.from(`body ${i}`))],
    );
    expect(JSON.parse(got.stdout)).toEqual(wanted);
    await expectRefused(way, '/files/h2', { http: '2' });
  });
});

describe('Node fetch transparent (it uses no proxy)', () => {
  const way = WAYS[1];

  it('fetch gets, posts a stream and reads the refusal', async () => {
    const got = await inside(
      sandbox,
      nodeProgram(
        way,
        `
const hello = await (await fetch('${BASE}/v1/fetch')).text();
const body = new ReadableStream({ start(c) { for (let i = 0; i < 50; i++) c.enqueue(new Uint8Array(20000)); c.close(); } });
const sum = await (await fetch('${BASE}/v1/sum', { method: 'POST', body, duplex: 'half' })).text();
const no = await fetch('${BASE}/files/fetch');
console.log(JSON.stringify([hello, sum, no.status, (await no.json()).rule]));`,
      ),
    );
    expect(got).toMatchObject({ exitCode: 0, stderr: '' });
    expect(JSON.parse(got.stdout)).toEqual([
      'hello over 2.0',
      sumOf(Buffer.alloc(1_000_000)),
      403,
      'api.paths',
    ]);
    await expectAllowed(way, '/v1/fetch', { http: '1.1' });
    await expectRefused(way, '/files/fetch');
  });
});

describe('certificates', () => {
  it('are those of the sandbox inside: without its CA nothing is trusted', async () => {
    const got = await inside(sandbox, ['curl', '-sS', '--cacert', outside.ca, `${BASE}/v1/hello`]);
    expect(got.exitCode).not.toBe(0);
  });

  it('of an origin that proves nothing are refused with 502', async () => {
    using strange = new Outside([HOST]);
    await using other = await tlsOrigin(strange, origin.handler);
    using fresh = new TestBox();
    await using second = await inspected(fresh, { rules: [RULE], sites: { [HOST]: other.port }, outside });
    arrived();
    const got = await inside(second, ['curl', '-sS', '-w', '%{http_code}', `${BASE}/v1/hello`]);
    expect(got.stdout).toMatch(/502$/);
    expect(arrived()).toEqual([]);
    const denied = { action: 'deny', host: HOST };
    await expectRecord(fresh, 'network.verdict', denied);
    expect(recorded(fresh, 'network.request').filter((data) => data['status'] === 200)).toEqual([]);
  });
});
