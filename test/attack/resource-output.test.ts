// Floods standard output and standard error. Source: log volumes filled by `yes`; daytona and e2b issue reports on buffered output.
import { expect } from 'vitest';
import { AttackBox, expectEvent, forEachTier } from '../support/attack.ts';

for (const [name, command] of [
  ['output', 'exec yes'],
  ['error output', 'exec yes >&2'],
  ['both', 'yes >&2 & exec yes'],
] as const) {
  forEachTier(`a flood of ${name} ends the command at the limit`, async (tier) => {
    using box = new AttackBox(tier);
    const result = await box.sh(command, { flags: ['--output', '64KiB'] });
    expect(result.code).toBe(137);
    expect(result.stdout.length + result.stderr.length).toBeLessThan(80 * 1024);
    expect(result.stderr).toMatch(/output/);
    expectEvent(box, 'limit.hit', { limit: 'output' });
  });
}
