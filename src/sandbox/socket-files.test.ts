import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processIdentity } from '../base/process-identity.ts';
import { socketPath } from './socket-files.ts';

const DEAD = `${(4_194_305).toString(36)}-1`;

let runtime: string;
let servers: Server[];

beforeEach(() => {
  runtime = mkdtempSync(path.join(tmpdir(), 'glovebox-sockets-'));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) await new Promise((resolve) => server.close(resolve));
  rmSync(runtime, { recursive: true, force: true });
});

const next = (): Promise<string> =>
  socketPath({ config: '', state: '', cache: '', runtime }, 'relays', 'sbx_next');

async function listening(name: string): Promise<string> {
  const file = path.join(path.dirname(await next()), name);
  const server = createServer();
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(file, resolve));
  return file;
}

/** As one that a killed launcher leaves: there, and nobody listens. */
async function abandoned(name: string): Promise<string> {
  const made = await listening('made.sock');
  const file = path.join(path.dirname(made), name);
  renameSync(made, file);
  await new Promise((resolve) => servers.pop()?.close(resolve));
  return file;
}

describe('the socket of a sandbox', () => {
  it('is named for its owner', async () => {
    const own = processIdentity(process.pid);
    const whose = [own?.pid, own?.startTicks].map((value) => Number(value).toString(36)).join('-');
    expect(path.basename(await next())).toBe(`next.${whose}.sock`);
  });

  it('is removed by the next start when its owner was killed', async () => {
    const files = [await abandoned(`sbx_one.${DEAD}.sock`), await abandoned('sbx_two.sock')];
    await next();
    expect(files.map((file) => existsSync(file))).toEqual([false, false]);
  });

  it('stays while somebody listens, whatever its name says', async () => {
    const files = [await listening(`sbx_one.${DEAD}.sock`), await listening('sbx_two.sock')];
    await next();
    expect(files.map((file) => existsSync(file))).toEqual([true, true]);
  });

  it('is not connected to while its owner lives', async () => {
    const file = await listening(path.basename(await next()).replace('next', 'one'));
    let met = 0;
    servers[0]?.on('connection', () => met++);
    for (let i = 0; i < 3; i++) await next();
    expect([existsSync(file), met]).toEqual([true, 0]);
  });
});
