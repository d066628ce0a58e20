// Opens the kernel's switches for writing: core_pattern, modprobe, sysrq. Source: CVE-2022-0492 and every "privileged /proc" escape.
import { readFileSync } from 'node:fs';
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  forEachTier,
  inGuest,
  isGuest,
} from '../support/attack.ts';

const SWITCHES = [
  'sys/kernel/core_pattern',
  'sys/kernel/modprobe',
  'sys/kernel/hostname',
  'sys/vm/overcommit_memory',
  'sysrq-trigger',
  'irq/default_smp_affinity',
];

forEachTier('no switch of the kernel can be opened for writing', async (tier) => {
  using box = new AttackBox(tier);
  const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
  // Opened only, nothing is written: the open is where the refusal happens. A guest kernel's own sysrq-trigger opens, and takes nothing.
  const write = isGuest(tier) ? `os.write(fd, b'h') if name == 'sysrq-trigger' else None` : 'None';
  const result = await box.python(`
def switch(name):
    fd = os.open('/proc/' + name, os.O_WRONLY)
    ${write}
    os.close(fd)
for name in ${JSON.stringify(SWITCHES)}: attempt(name, lambda: switch(name))`);
  const refusals = ['EROFS', 'EACCES', 'EPERM', 'ENOENT'];
  expectRefused(result, SWITCHES, [...refusals, ...inGuest(tier, 'EIO')]);
  expect(readFileSync('/proc/sys/kernel/core_pattern', 'utf8')).toBe(before);
  expectRecorded(box);
});
