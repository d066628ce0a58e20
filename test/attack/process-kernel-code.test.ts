// Loads modules or another kernel, swaps, reboots. Source: init_module(2), kexec_load(2), reboot(2).
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('kernel code and machine administration are refused', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('init_module', lambda: syscall('init_module', b'x', 1, b''))
attempt('finit_module', lambda: syscall('finit_module', 0, b'', 0))
attempt('delete_module', lambda: syscall('delete_module', b'gbx_none', 0x800))
attempt('kexec_load', lambda: syscall('kexec_load', 0, 0, None, 0))
attempt('reboot', lambda: syscall('reboot', 0xfee1dead, 672274793, 0, None))
attempt('swapon', lambda: syscall('swapon', b'/tmp/none', 0))
attempt('acct', lambda: syscall('acct', b'/tmp/none'))
attempt('quotactl', lambda: syscall('quotactl', 0x80000102, b'/tmp/none', 0, None))
attempt('settimeofday', lambda: syscall('settimeofday', None, None))
`);
  expectRefused(
    result,
    [
      'init_module',
      'finit_module',
      'delete_module',
      'kexec_load',
      'reboot',
      'swapon',
      'acct',
      'quotactl',
      'settimeofday',
    ],
    ['EPERM'],
  );
  expectRecorded(box);
});
