// Floods the log and the memory of the gateway with invented names. Source: log flooding (CWE-779); a refusal is cheap for the attacker.
import { statSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectEvent, expectRecorded, forEachTier, isMachine } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('a flood of refused names leaves a bounded record', async (tier) => {
  // One by one, three thousand records would be more than a megabyte; an emulated machine asks slowly.
  const names = isMachine(tier) ? 3000 : 10_000;
  using box = new AttackBox(tier);
  const result = await box.python(`
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    link.connect(('127.0.0.1', 53)); link.settimeout(5)
    for number in range(${names}):
        link.send(dns_query(f'n{number}.example.com'))
        if number % 50 == 49: 
            for _ in range(50): link.recv(512)
report('asked', ${names})
`);
  expect(result.stdout, result.stderr).toContain(`asked=${names}`);
  const dir = path.join(box.home, '.local/state/glovebox/audit');
  const bytes = readdirSync(dir).reduce((sum, name) => sum + statSync(path.join(dir, name)).size, 0);
  expect(bytes).toBeLessThan(640 * 1024);
  expectEvent(box, 'network.verdict', { action: 'deny', host: 'n0.example.com' });
  expectRecorded(box);
});
