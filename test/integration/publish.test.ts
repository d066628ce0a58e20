import { createServer, connect, type AddressInfo } from 'node:net';
import { networkInterfaces } from 'node:os';
import { describe, expect, it } from 'vitest';
import { AttackBox, PYTHON, type Running } from '../support/attack.ts';

/** Answers every request with what it was sent; several at once. */
const SERVER = `
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        self.send_response(200); self.send_header('Content-Length', str(len(body))); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(('127.0.0.1', 8080), Handler)
print('up', flush=True)
server.serve_forever()`;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startServer(box: AttackBox, port: number): Promise<Running> {
  const run = box.start([PYTHON, '-c', SERVER], { flags: ['--publish', `${port}:8080`] });
  await run.said('up');
  return run;
}

/** True when something accepts there. */
function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2000 });
    const answer = (value: boolean): void => {
      socket.destroy();
      resolve(value);
    };
    socket.on('connect', () => answer(true));
    socket.on('error', () => answer(false));
    socket.on('timeout', () => answer(false));
  });
}

const post = async (port: number, body: string): Promise<string> =>
  (await fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body })).text();

describe('--publish', () => {
  it('reaches a server inside, many times at once and with a large body', async () => {
    using box = new AttackBox('process');
    const port = await freePort();
    const run = await startServer(box, port);
    const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => post(port, `body ${i}`)));
    expect(answers).toEqual(answers.map((_, i) => `body ${i}`));
    const large = 'x'.repeat(5_000_000);
    expect((await post(port, large)) === large).toBe(true);
    run.child.kill('SIGTERM');
    const end = await run.ended;
    expect(end.code).toBe(143);
    expect(end.stderr).toContain(`127.0.0.1:${port}`);
  });

  it('listens on 127.0.0.1 and on no other address', async () => {
    using box = new AttackBox('process');
    const port = await freePort();
    const run = await startServer(box, port);
    const others = Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).map((one) => one.address),
    );
    const reached = await Promise.all(
      ['::1', ...others]
        .filter((host) => host !== '127.0.0.1')
        .map(async (host) => [host, await accepts(host, port)] as const),
    );
    expect(reached.filter(([, yes]) => yes)).toEqual([]);
    expect(await accepts('127.0.0.1', port)).toBe(true);
    run.child.kill('SIGTERM');
    await run.ended;
  });

  it('refuses a port that is taken, and leaves nothing', async () => {
    using box = new AttackBox('process');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const result = await box.run(['touch', 'ran'], { flags: ['--publish', `${port}:8080`] });
    server.close();
    expect(result.code).toBe(125);
    expect(result.stderr).toContain('E_PORT_TAKEN');
    expect(result.stderr).toContain(String(port));
    expect(box.listing()).toEqual([]);
  });

  it('closes at the end, open connections too', async () => {
    using box = new AttackBox('process');
    const port = await freePort();
    const run = await startServer(box, port);
    const socket = connect(port, '127.0.0.1');
    await new Promise((resolve) => socket.once('connect', resolve));
    const closed = new Promise((resolve) => socket.once('close', resolve));
    socket.on('error', () => undefined);
    run.child.kill('SIGTERM');
    await run.ended;
    await closed;
    expect(await accepts('127.0.0.1', port)).toBe(false);
  });

  it('closes a connection to a port where nobody listens, and goes on', async () => {
    using box = new AttackBox('process');
    const port = await freePort();
    const run = box.start(['bash', '-c', 'echo up; read -r x; echo end'], {
      flags: ['--publish', `${port}:9999`],
    });
    await run.said('up');
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('close', resolve));
    run.tell('go');
    expect(await run.finish()).toMatchObject({ code: 0, stdout: 'up\nend\n' });
  });
});
