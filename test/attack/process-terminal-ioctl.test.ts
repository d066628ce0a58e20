// Types into a terminal by ioctl, with high bits set to pass a filter that compares 64 bits. Source: CVE-2017-5226 (bubblewrap), CVE-2023-28100 (TIOCLINUX), CVE-2019-10063.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('TIOCSTI, TIOCLINUX, TIOCSETD and TIOCCONS are refused in every spelling', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
import pty
leader, follower = pty.openpty()
libc.ioctl.argtypes = None
def ioctl(fd, command):
    libc.syscall.restype = ctypes.c_long
    value = libc.syscall(ctypes.c_long(16 if platform.machine() == 'x86_64' else 29), ctypes.c_long(fd), ctypes.c_ulong(command), ctypes.c_char_p(b'x'))
    if value < 0: raise OSError(ctypes.get_errno(), '')
for name, command in (('TIOCSTI', 0x5412), ('TIOCLINUX', 0x541c), ('TIOCCONS', 0x541d), ('TIOCSETD', 0x5423)):
    for high in (0, 1 << 32, 1 << 63, 0xdeadbeef << 32): attempt(f'{name} {high:x}', lambda: ioctl(follower, command | high))
`);
  const highs = ['0', '100000000', '8000000000000000', 'deadbeef00000000'];
  const names = ['TIOCSTI', 'TIOCLINUX', 'TIOCCONS', 'TIOCSETD'].flatMap((name) =>
    highs.map((high) => `${name} ${high}`),
  );
  expectRefused(result, names, ['EPERM']);
  expectRecorded(box);
});
