import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { performance } from 'node:perf_hooks';
import type { TLSSocket } from 'node:tls';
import { answering, count, text } from '../lib/helper.ts';
import { headerLines, Lane, open, type Way } from '../lib/tls-client.ts';

// The TLS client of the inspected subject: one job a message, one way for each. Rates are per second, times in milliseconds.

type Numbers = Readonly<Record<string, number>>;

const MIB = 1024 * 1024;
/** One body of an upload: as large as a long conversation with files in it. */
const UPLOAD_BYTES = 4 * MIB;
/** Messages of a WebSocket that are on their way at once, and their length. */
const WINDOW = 16;
const MESSAGE_BYTES = 100;
/** An upgrade that is not answered within this time never will be. */
const ANSWER_MS = 3000;

async function rate(amount: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return amount / ((performance.now() - started) / 1000);
}

async function bulk(way: Way, mebibytes: number): Promise<Numbers> {
  const lane = await Lane.open(way);
  await lane.get(`/v1/bytes/${4 * MIB}`);
  const download = await rate(mebibytes, () => lane.get(`/v1/bytes/${mebibytes * MIB}`));
  lane.close();
  return { download };
}

async function uploads(way: Way, mebibytes: number): Promise<Numbers> {
  const lane = await Lane.open(way);
  const body = conversation(UPLOAD_BYTES);
  await lane.post('/v1/messages', body);
  const upload = await rate(mebibytes, async () => {
    for (let sent = 0; sent < mebibytes * MIB; sent += UPLOAD_BYTES) await lane.post('/v1/messages', body);
  });
  lane.close();
  return { upload };
}

function conversation(bytes: number): Buffer {
  const line = 'a few ordinary words of a conversation, and more; ';
  const turns: object[] = [];
  for (let size = 0, i = 0; size < bytes + 1000; size += 400, i++)
    turns.push({ role: 'user', index: i, content: line.repeat(8) });
  return Buffer.from(JSON.stringify({ messages: turns })).subarray(0, bytes);
}

async function requests(way: Way, total: number, lanes: number): Promise<Numbers> {
  const all = await Promise.all(Array.from({ length: lanes }, () => Lane.open(way)));
  const each = Math.floor(total / lanes);
  await Promise.all(all.map((lane) => series(lane, Math.ceil(each / 8), [])));
  const times: number[] = [];
  const perSecond = await rate(each * lanes, async () => {
    await Promise.all(all.map((lane) => series(lane, each, times)));
  });
  for (const lane of all) lane.close();
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? 0;
  return { rate: perSecond, p50: at(0.5), p99: at(0.99) };
}

async function series(lane: Lane, total: number, times: number[]): Promise<void> {
  for (let i = 0; i < total; i++) {
    const started = performance.now();
    await lane.get('/v1/ok');
    times.push(performance.now() - started);
  }
}

async function connections(way: Way, total: number): Promise<Numbers> {
  const perSecond = await rate(total, async () => {
    for (let i = 0; i < total; i++) {
      const lane = await Lane.open(way);
      await lane.get('/v1/ok');
      lane.close();
    }
  });
  return { rate: perSecond };
}

async function http2(way: Way, total: number, lanes: number): Promise<Numbers> {
  const socket = await open(way, 'h2');
  const authority = way.connect ?? way.host;
  const session = connectHttp2(`https://${authority}`, { createConnection: () => socket });
  await once(session, 'connect');
  const each = Math.floor(total / lanes);
  await Promise.all(Array.from({ length: lanes }, () => streams(session, way, Math.ceil(each / 8))));
  const perSecond = await rate(each * lanes, async () => {
    await Promise.all(Array.from({ length: lanes }, () => streams(session, way, each)));
  });
  session.destroy();
  return { rate: perSecond };
}

async function streams(session: ClientHttp2Session, way: Way, total: number): Promise<void> {
  const token = way.key === undefined ? {} : { authorization: `Bearer ${way.key}` };
  for (let i = 0; i < total; i++) {
    const stream = session.request({ ':path': '/v1/ok', ...token });
    stream.once('response', (headers) => {
      if (headers[':status'] !== 200) stream.destroy(new Error(`status ${headers[':status']}`));
    });
    stream.resume();
    await once(stream, 'close');
  }
}

async function webSocket(way: Way, total: number): Promise<Numbers> {
  const socket = await open(way);
  const key = randomBytes(16).toString('base64');
  const lines = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n`;
  socket.write(`GET /v1/socket HTTP/1.1\r\n${headerLines(way)}${lines}\r\n`);
  const signal = AbortSignal.timeout(ANSWER_MS);
  const [head]: unknown[] = await once(socket, 'data', { signal }).catch(() => ['nothing']);
  const status = String(head).split('\r\n')[0] ?? '';
  if (!status.startsWith('HTTP/1.1 101')) {
    socket.destroy();
    throw new Error(`the upgrade to WebSocket was answered "${status}"`);
  }
  await messages(socket, Math.ceil(total / 8));
  const perSecond = await rate(total, () => messages(socket, total));
  socket.destroy();
  return { rate: perSecond };
}

/** Sends messages, some at once, until all have come back. Every echo is as long as the next. */
function messages(socket: TLSSocket, total: number): Promise<void> {
  const frame = maskedFrame(Buffer.from('an ordinary message; '.repeat(8)).subarray(0, MESSAGE_BYTES));
  const echo = 2 + MESSAGE_BYTES;
  return new Promise((resolve, reject) => {
    let sent = Math.min(WINDOW, total);
    let got = 0;
    const heard = (chunk: Buffer): void => {
      const before = Math.floor(got / echo);
      got += chunk.length;
      const more = Math.min(Math.floor(got / echo) - before, total - sent);
      sent += more;
      if (more > 0) socket.write(Buffer.concat(Array.from({ length: more }, () => frame)));
      if (got < total * echo) return;
      socket.off('data', heard).off('close', gone);
      resolve();
    };
    const gone = (): void => reject(new Error('the WebSocket was closed'));
    socket.on('data', heard).once('close', gone);
    socket.write(Buffer.concat(Array.from({ length: sent }, () => frame)));
  });
}

/** RFC 6455 §5.2: a text frame of less than 126 bytes. */
function maskedFrame(payload: Buffer): Buffer {
  const mask = randomBytes(4);
  const body = payload.map((byte, i) => byte ^ (mask[i & 3] ?? 0));
  return Buffer.concat([Uint8Array.of(0x81, 0x80 | payload.length), mask, body]);
}

function wayOf(question: Readonly<Record<string, unknown>>): Way {
  const optional = (name: 'connect' | 'proxyAuthorization' | 'key'): Partial<Way> =>
    typeof question[name] === 'string' ? { [name]: question[name] } : {};
  return {
    port: count(question['port']),
    host: text(question['host']),
    ca: text(question['ca']),
    ...optional('connect'),
    ...optional('proxyAuthorization'),
    ...optional('key'),
  };
}

answering((question) => {
  const way = wayOf(question);
  const amount = count(question['amount']);
  const lanes = count(question['lanes']);
  switch (question['job']) {
    case 'bulk':
      return bulk(way, amount);
    case 'upload':
      return uploads(way, amount);
    case 'requests':
      return requests(way, amount, lanes);
    case 'connections':
      return connections(way, amount);
    case 'http2':
      return http2(way, amount, lanes);
    case 'websocket':
      return webSocket(way, amount);
    default:
      return Promise.reject(new Error(`no such job: ${String(question['job'])}`));
  }
});
