import https from 'node:https';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WebSocketServer } from 'ws';
import type { Sandbox } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import {
  expectRecord,
  inside,
  inspected,
  LocalServer,
  Outside,
  recorded,
  nodeProgram,
  WAYS,
} from '../support/inspection.ts';

const PASS = 'ws.example.test';
const READ = 'wsread.example.test';
const NONE = 'wsnone.example.test';
const WS = path.resolve(import.meta.dirname, '../../node_modules/ws');

let outside: Outside;
let server: LocalServer;
let box: TestBox;
let sandbox: Sandbox;

beforeAll(async () => {
  outside = new Outside([PASS, READ, NONE]);
  const { key, cert } = outside;
  const plain = https.createServer({ key, cert });
  const sockets = new WebSocketServer({
    server: plain,
    perMessageDeflate: true,
    handleProtocols: () => 'chat',
  });
  sockets.on('connection', (socket) => {
    socket.on('message', (data: Buffer, binary) => {
      if (data.toString() === 'close') socket.close(4001, 'as asked');
      else socket.send(data, { binary });
    });
  });
  server = await LocalServer.listen(plain);
  box = new TestBox();
  const sites = { [PASS]: server.port, [READ]: server.port, [NONE]: server.port };
  const rules = [
    { id: 'pass', host: PASS, paths: ['/chat'], websocket: 'allow' },
    { id: 'read', host: READ, paths: ['/chat'], websocket: 'inspect' },
    { id: 'none', host: NONE, paths: ['/chat'] },
  ];
  sandbox = await inspected(box, { rules, sites, outside, more: { read: [WS] } });
});

afterAll(async () => {
  await sandbox?.kill();
  await server?.[Symbol.asyncDispose]();
  box?.[Symbol.dispose]();
  outside?.[Symbol.dispose]();
});

/** Connects, sends a few messages, and prints what came back. */
const script = (url: string): string => `
import WebSocket from ${JSON.stringify(path.join(WS, 'wrapper.mjs'))};
import { once } from 'node:events';
const socket = new WebSocket('${url}', ['chat'], { agent: agent() });
const refused = once(socket, 'unexpected-response').then(async ([, response]) => {
  let text = ''; for await (const chunk of response) text += chunk;
  console.log(JSON.stringify({ status: response.statusCode, rule: JSON.parse(text).rule })); process.exit(0);
});
const out = {};
await once(socket, 'open'); out.protocol = socket.protocol; out.deflate = socket.extensions;
const echo = async (data) => { socket.send(data); const [back, binary] = await once(socket, 'message'); return [back, binary]; };
out.text = String((await echo('grüße'))[0]);
const big = Buffer.alloc(300000, 'abcdefg'); const [back, binary] = await echo(big); out.big = binary && back.equals(big);
socket.ping('p'); out.pong = String((await once(socket, 'pong'))[0]);
socket.send('close'); const [code, reason] = await once(socket, 'close'); out.close = [code, String(reason)];
console.log(JSON.stringify(out));
`;

describe.each(WAYS)('ws $way', (way) => {
  const talk = async (host: string): Promise<unknown> => {
    const got = await inside(sandbox, nodeProgram(way, script(`wss://${host}/chat`)));
    expect(got.exitCode, got.stderr).toBe(0);
    return JSON.parse(got.stdout);
  };
  const whole = { protocol: 'chat', text: 'grüße', big: true, pong: 'p', close: [4001, 'as asked'] };

  it('passes messages of every kind, and the compression that was agreed on', async () => {
    expect(await talk(PASS)).toEqual({ ...whole, deflate: 'permessage-deflate' });
    const common = { action: 'allow', rule: 'pass', entry: way.entry, path: '/chat', status: 101 };
    await expectRecord(box, 'network.request', common);
  });

  it('passes inspected messages, without compression', async () => {
    expect(await talk(READ)).toEqual({ ...whole, deflate: '' });
    await expectRecord(box, 'network.request', {
      action: 'allow',
      rule: 'read',
      entry: way.entry,
      status: 101,
    });
  });

  it('is refused where the rule does not speak of it', async () => {
    expect(await talk(NONE)).toEqual({ status: 403, rule: expect.stringContaining('none') as unknown });
    await expectRecord(box, 'network.request', { action: 'deny', entry: way.entry, host: NONE, status: 403 });
    expect(
      recorded(box, 'network.request').filter((data) => data['host'] === NONE && data['status'] === 101),
    ).toEqual([]);
  });
});
