// Schedules itself: cron, at, systemd timers of the user, XDG autostart. Source: MITRE ATT&CK T1053, T1543.
import { existsSync } from 'node:fs';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

const PLACES = [
  '/etc/cron.d/gbx',
  '/var/spool/cron/crontabs/gbx',
  '/var/spool/cron/atjobs/gbx',
  '/etc/systemd/system/gbx.service',
  '/usr/lib/systemd/user/gbx.timer',
  '/etc/xdg/autostart/gbx.desktop',
];

forEachTier('no scheduler of the host can be reached', async (tier) => {
  using box = new AttackBox(tier);
  const home = `${box.home}/.config/systemd/user`;
  const result = await box.python(`
for path in ${JSON.stringify(PLACES)}: attempt(path, lambda: write_file(path))
try: os.makedirs('${home}'); write_file('${home}/gbx.service')
except OSError: pass
`);
  expectRefused(result, PLACES, ['ENOENT', 'EROFS', 'EACCES', 'EPERM']);
  expect(existsSync(home)).toBe(false);
  expect(PLACES.filter((place) => existsSync(place))).toEqual([]);
  expectRecorded(box);
});
