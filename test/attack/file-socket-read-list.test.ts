// Gets a socket of the host named in --read. Source: srt has no path-selective sockets; a socket is a program outside the walls.
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, CanaryService, expectEvent, forEachTier } from '../support/attack.ts';

forEachTier('a run that would share a socket of the host is refused', async (tier) => {
  using box = new AttackBox(tier);
  const socket = path.join(box.base, 'agent.sock');
  await using service = await CanaryService.on({ path: socket });
  const result = await box.sh('echo ran', { flags: ['--read', socket] });
  expect(result.code).toBe(125);
  expect(result.stdout).toBe('');
  expect(result.stderr).toContain('socket');
  expect(service.connections).toBe(0);
  expectEvent(box, 'run.refused');
});
