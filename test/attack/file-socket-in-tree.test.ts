// Connects to a live socket of the host that lies in a tree the sandbox may read. Source: ssh-agent and database sockets below ~.
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, CanaryService, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('a socket of the host inside a --read directory takes no connection', async (tier) => {
  using box = new AttackBox(tier);
  const dir = path.dirname(box.plant('shared/readme.txt'));
  const socket = path.join(dir, 'agent.sock');
  await using service = await CanaryService.on({ path: socket });
  const result = await box.python(`attempt('connect', lambda: talk('${socket}', family=socket.AF_UNIX))`, {
    flags: ['--read', dir],
  });
  expectRefused(result, ['connect'], ['EACCES', 'EPERM', 'ECONNREFUSED', 'ENOENT']);
  expect(service.connections).toBe(0);
  expectRecorded(box);
});
