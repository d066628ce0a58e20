// The gateway stops answering: nothing may go round it. Source: fail-open proxies; claude-code #81572 (filter gone, traffic flows).
import { existsSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import {
  AttackBox,
  CanaryService,
  expectRecorded,
  forEachTier,
  hostLoopbackPolicy,
  until,
} from '../support/attack.ts';

forEachTier('a stopped launcher means no traffic', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  box.policy(hostLoopbackPolicy(service.port, 'tcp'));
  const run = box.startPython(`
address = socket.getaddrinfo('host-loopback', ${service.port}, type=socket.SOCK_STREAM)[0][4]
print('ready', flush=True)
end = time.monotonic() + 20
while not os.path.exists('go') and time.monotonic() < end: time.sleep(0.01)
for host, port in (address, ('127.0.0.1', ${service.port}), ('203.0.113.7', 443)):
    attempt(host, lambda: talk((host, port), b'x', 0.3))
write_file('done')
end = time.monotonic() + 20
while not os.path.exists('again') and time.monotonic() < end: time.sleep(0.01)
attempt('control', lambda: talk(address, b'x', 1))
`);
  await run.said('ready');
  run.child.kill('SIGSTOP');
  box.write('go');
  await until(() => existsSync(path.join(box.workspace, 'done')), 'the attempts', 30_000);
  expect(service.connections).toBe(0);
  run.child.kill('SIGCONT');
  box.write('again');
  const result = await run.finish();
  expect(result.stdout).not.toMatch(/203.0.113.7=OK/);
  // The way itself was open: the refusals above came from the stop alone.
  expect(service.connections).toBeGreaterThan(0);
  expectRecorded(box);
});
