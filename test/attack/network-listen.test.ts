// Opens a door: listens on every address for a caller from outside. Source: bind shells; claude-code #87381 (relays inside the sandbox).
import net from 'node:net';
import { networkInterfaces } from 'node:os';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('a port opened inside cannot be reached from the host', async (tier) => {
  using box = new AttackBox(tier);
  const run = box.startPython(`
server = socket.create_server(('0.0.0.0', 0))
print('port', server.getsockname()[1], 'open', flush=True)
server.settimeout(0.1)
accepted = 0
sys.stdin.readline()
try:
    server.accept(); accepted = 1
except TimeoutError: pass
report('accepted', accepted)
`);
  await run.said('open');
  const port = Number(/port (\d+) open/.exec(run.output)?.[1]);
  const hosts = [
    '127.0.0.1',
    '::1',
    ...Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter((item) => !item.internal && item.scopeid === undefined)
      .map((item) => item.address),
  ];
  const reached = await Promise.all(
    hosts.map(
      (host) =>
        new Promise<boolean>((resolve) => {
          const socket = net.connect({ host, port, timeout: 2000 }, () => resolve(true));
          socket.on('error', () => resolve(false));
          socket.on('timeout', () => resolve(false));
          socket.unref();
        }),
    ),
  );
  run.tell('go');
  const result = await run.finish();
  expect(reached).toEqual(hosts.map(() => false));
  expect(result.stdout, result.stderr).toContain('accepted=0');
  expectRecorded(box);
});
