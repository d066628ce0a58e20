import { connect } from 'node:net';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { expect } from 'vitest';
import { clientHello } from '../hello.ts';
import { createGateway } from '../../../src/gateway/gateway.ts';
import { attachTcp, policy, rule, sleep, talk, until } from '../kit.ts';
import { expand } from './load.ts';
import type { Case, CaseFile } from './load.ts';
import { stageFor } from './outcome.ts';
import type { Stage } from './outcome.ts';

/** Rows that count or repeat, each with a test of its own. */
export const RUN_APART: Readonly<Record<string, (file: CaseFile) => Promise<void>>> = {
  C71: tooManyTunnels,
  B02: declaredBodyOverBudget,
  B03: undeclaredBodyIsCut,
  B04: uploadIsASum,
  B05: tunnelBytesCount,
  B11: budgetsAreApart,
  W16: webSocketBytesCount,
  U09: noRecordNoTraffic,
};

async function withStage(
  file: CaseFile,
  id: string,
  run: (stage: Stage, row: Case) => Promise<void>,
): Promise<void> {
  const row = file.cases.find((entry) => entry.id === id);
  if (row === undefined) throw new Error(`no row ${id}`);
  const stage = await stageFor(file, row);
  try {
    await run(stage, row);
  } finally {
    await stage.close();
  }
}

async function tooManyTunnels(file: CaseFile): Promise<void> {
  await withStage(file, 'C71', async (stage) => {
    const head = 'CONNECT api.allowed.test:443 HTTP/1.1\r\nHost: api.allowed.test:443\r\n\r\n';
    const hello = clientHello({ sni: 'api.allowed.test' });
    const held: Socket[] = [];
    for (let i = 0; i < 256; i++) {
      const socket = connect(stage.bench.proxy, '127.0.0.1');
      await once(socket, 'connect');
      socket.write(Buffer.concat([Buffer.from(head), hello]));
      held.push(socket);
    }
    await until('256 tunnels', () => stage.origin.received.length === 256);
    const { bytes } = await talk(stage.bench.proxy, [head]);
    expect(bytes.toString()).toContain('HTTP/1.1 503');
    expect(stage.bench.events.at(-1)).toMatchObject({
      action: 'deny',
      rule: 'structural.too-many-connections',
    });
    const [first] = held;
    first?.write('more');
    await until('an earlier tunnel still works', () =>
      stage.origin.received.some((all) => all.includes('more')),
    );
    for (const socket of held) socket.destroy();
  });
}

function toHost(stage: Stage): void {
  Object.assign(stage.bench.destination, { address: '198.18.0.1', port: 80 });
}

const post = (length: string, body: string): string =>
  `POST /v1/messages HTTP/1.1\r\nHost: api.allowed.test\r\n${length}\r\n\r\n${body}`;

async function declaredBodyOverBudget(file: CaseFile): Promise<void> {
  await withStage(file, 'B02', async (stage, row) => {
    toHost(stage);
    const { bytes } = await talk(stage.bench.transparent, [row.input.raw ?? ''], 200);
    expect(bytes.toString()).toContain('HTTP/1.1 413');
    expect(stage.bench.dialled).toEqual([]);
  });
}

async function undeclaredBodyIsCut(file: CaseFile): Promise<void> {
  await withStage(file, 'B03', async (stage, row) => {
    toHost(stage);
    const { closed } = await talk(stage.bench.transparent, [expand(row.input.raw ?? '')], 1_000);
    expect(closed).toBe(true);
    const sent = Buffer.concat(stage.origin.received);
    expect(sent.length).toBeLessThan(1_048_576 + 128 * 1024);
    expect(sent.toString('latin1').endsWith('0\r\n\r\n')).toBe(false);
    expect(stage.bench.events.at(-1)).toMatchObject({ action: 'deny', rule: 'network.budget.upload' });
  });
}

async function uploadIsASum(file: CaseFile): Promise<void> {
  await withStage(file, 'B04', async (stage) => {
    toHost(stage);
    const replies: string[] = [];
    for (let i = 0; i < 3; i++) {
      const { bytes } = await talk(
        stage.bench.transparent,
        [post('Content-Length: 400000', 'a'.repeat(400_000))],
        300,
      );
      replies.push(bytes.toString().slice(0, 12));
    }
    expect(replies.at(-1)).toBe('HTTP/1.1 413');
    expect(Buffer.concat(stage.origin.received).length).toBeLessThan(1_048_576);
  });
}

async function tunnelBytesCount(file: CaseFile): Promise<void> {
  await withStage(file, 'B05', async (stage) => {
    for (let i = 0; i < 3; i++) {
      const head = `CONNECT a${i}.wild.test:443 HTTP/1.1\r\nHost: a${i}.wild.test:443\r\n\r\n`;
      await talk(
        stage.bench.proxy,
        [head, clientHello({ sni: `a${i}.wild.test` }), Buffer.alloc(400_000, 97)],
        300,
      );
    }
    await sleep(50);
    expect(stage.bench.events.at(-1)).toMatchObject({ action: 'deny', rule: 'network.budget.upload' });
    expect(stage.bench.summaries.at(-1)).toMatchObject({ end: 'budget' });
    expect(Buffer.concat(stage.origin.received).length).toBeLessThanOrEqual(1_048_576);
  });
}

async function noRecordNoTraffic(): Promise<void> {
  const gateway = createGateway({
    policy: policy([rule('db.test', 5432)]),
    onEvent: () => {
      throw new Error('the sink is full');
    },
    onConnection: () => undefined,
    resolver: { resolve: () => Promise.reject(new Error('not reached')) },
  });
  const port = await attachTcp(gateway, 'http-proxy');
  const { bytes } = await talk(port, ['CONNECT evil.test:443 HTTP/1.1\r\n\r\n'], 300);
  expect(bytes.toString()).not.toContain('HTTP/1.1 200');
  await gateway.close();
  await expect(talk(port, [])).rejects.toThrow('ECONNREFUSED');
}

/** The row's 70 MB against its policy's 50 MiB, scaled to the upload budget of 1 MiB. */
async function webSocketBytesCount(file: CaseFile): Promise<void> {
  const response =
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n';
  const cases = file.cases.map((row) =>
    row.id === 'W16' ? { ...row, input: { ...row.input, response } } : row,
  );
  await withStage({ ...file, cases }, 'W16', async (stage) => {
    toHost(stage);
    const opening =
      'GET /v1/stream HTTP/1.1\r\nHost: api.allowed.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';
    const socket = connect(stage.bench.transparent, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.write(opening);
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toContain('101 Switching Protocols');
    socket.write(Buffer.alloc(2_000_000));
    await until('cut', () => stage.bench.events.at(-1)?.rule === 'network.budget.upload');
    await until('closed', () => socket.closed);
    expect(Buffer.concat(stage.origin.received).length).toBeLessThanOrEqual(1_048_576 + 1_024);
  });
}

async function budgetsAreApart(file: CaseFile): Promise<void> {
  const get = 'GET /v1/repos/x HTTP/1.1\r\nHost: api.allowed.test\r\nConnection: close\r\n\r\n';
  await withStage(file, 'B11', async (first) => {
    toHost(first);
    let last = '';
    for (let i = 0; i < 61; i++) last = (await talk(first.bench.transparent, [get], 30)).bytes.toString();
    expect(last).toContain('HTTP/1.1 429');
    await withStage(file, 'B11', async (second) => {
      toHost(second);
      const { bytes } = await talk(second.bench.transparent, [get]);
      expect(bytes.toString()).toContain('200 OK');
    });
  });
}
