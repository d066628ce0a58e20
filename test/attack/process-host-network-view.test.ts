// Reads the host's connections, interfaces and neighbours. Source: proc_net(5); reconnaissance before lateral movement.
import { networkInterfaces } from 'node:os';
import { expect } from 'vitest';
import { AttackBox, CanaryService, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('connections and interfaces of the host are not shown', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  const result = await box.sh(
    'cat /proc/net/tcp /proc/net/tcp6 /proc/net/dev /proc/net/arp /proc/net/route; echo tried',
  );
  expect(result.stdout, result.stderr).toContain('tried');
  expect(result.stdout).not.toContain(`:${service.port.toString(16).toUpperCase().padStart(4, '0')} `);
  for (const name of Object.keys(networkInterfaces()).filter((item) => item !== 'lo'))
    expect(result.stdout).not.toContain(`${name}:`);
  expectRecorded(box);
});
