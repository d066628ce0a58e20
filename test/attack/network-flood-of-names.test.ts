// Floods the log and the memory of the gateway with invented names. Source: log flooding (CWE-779); a refusal is cheap for the attacker.
import { statSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { AttackBox, expectEvent, expectRecorded, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('ten thousand refused names leave a bounded record', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
    link.connect(('127.0.0.1', 53)); link.settimeout(5)
    for number in range(10000):
        link.send(dns_query(f'n{number}.example.com'))
        if number % 50 == 49: 
            for _ in range(50): link.recv(512)
report('asked', 10000)
`);
  expect(result.stdout, result.stderr).toContain('asked=10000');
  const dir = path.join(box.home, '.local/state/glovebox/audit');
  const bytes = readdirSync(dir).reduce((sum, name) => sum + statSync(path.join(dir, name)).size, 0);
  expect(bytes).toBeLessThan(1024 * 1024);
  expectEvent(box, 'network.verdict', { action: 'deny', host: 'n0.example.com' });
  expectRecorded(box);
});
