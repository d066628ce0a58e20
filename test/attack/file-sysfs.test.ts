// Reads or steers the machine through /sys, cgroupfs and debugfs. Source: CVE-2022-0492 (cgroup release_agent).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

forEachTier('/sys, cgroupfs, debugfs and securityfs are not there', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.sh(
    'ls /sys/* /boot/* /mnt /media /srv /opt /root/* 2>/dev/null; grep -E "sysfs|cgroup|debugfs|securityfs" /proc/self/mountinfo; echo tried',
  );
  expect(result.stdout).toBe('tried\n');
  expectRecorded(box);
});
