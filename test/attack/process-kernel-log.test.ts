// Reads the kernel log for addresses and for what others do. Source: syslog(2), dmesg; kallsyms(5).
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('the kernel log and addresses are closed', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
attempt('read', lambda: syscall('syslog', 3, ctypes.create_string_buffer(4096), 4096))
attempt('unread', lambda: syscall('syslog', 9, None, 0))
attempt('kmsg', lambda: read_file('/dev/kmsg'))
attempt('kcore', lambda: os.close(os.open('/proc/kcore', os.O_RDONLY)))
report('kallsyms', 'EPERM' if not [l for l in read_file('/proc/kallsyms').split(b'\\n') if l and set(l.split()[0]) != set(b'0')] else 'addresses') if os.path.exists('/proc/kallsyms') else report('kallsyms', 'ENOENT')
`);
  expectRefused(result, ['read', 'unread', 'kmsg', 'kcore', 'kallsyms'], ['EPERM', 'EACCES', 'ENOENT']);
  expectRecorded(box);
});
