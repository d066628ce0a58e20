// Plants start-up files in the home directory. Source: agents told to "add this to your .bashrc"; nothing may survive the run.
import { readdirSync, readFileSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('what is written to the home directory vanishes with the run', async (tier) => {
  using box = new AttackBox(tier);
  const rc = box.plant('.bashrc', box.home);
  const script =
    'echo evil >> ~/.bashrc; mkdir -p ~/.config/systemd/user ~/.config/autostart ~/.ssh ~/bin; echo k > ~/.ssh/authorized_keys; echo u > ~/.config/systemd/user/x.service; cat ~/.bashrc; echo evil >> ' +
    rc;
  const result = await box.sh(script);
  expect(result.stdout).toBe('evil\n');
  expect(readFileSync(rc, 'utf8')).toBe(`${box.canary}\n`);
  expect(
    readdirSync(box.home).filter(
      (name) => !['.bashrc', 'project', '.local', '.config', '.cache'].includes(name),
    ),
  ).toEqual([]);
  expect(JSON.stringify(readdirSync(box.home, { recursive: true }))).not.toMatch(
    /systemd|autostart|authorized_keys/,
  );
  expectRecorded(box);
});
