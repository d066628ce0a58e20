// Opens a POSIX message queue and shared memory of the host. Source: mq_overview(7), shm_overview(7).
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  forEachTier,
  onHost,
  pythonProbe,
  PYTHON,
} from '../support/attack.ts';

forEachTier('POSIX queues and shared memory of the host are not there', async (tier) => {
  using box = new AttackBox(tier);
  const name = `/gbx-${box.canary}`;
  const make = `
import subprocess
queue = libc.mq_open(b'${name}', os.O_CREAT | os.O_RDWR, 0o666, None)
write_file('/dev/shm${name}', b'x')
print('made', queue, flush=True)
subprocess.run(sys.argv[1:])
libc.mq_unlink(b'${name}'); os.unlink('/dev/shm${name}')
`;
  const script = `
report('queue', 'found' if libc.mq_open(b'${name}', os.O_RDWR) >= 0 else errno.errorcode[ctypes.get_errno()])
attempt('shm', lambda: read_file('/dev/shm${name}'))
`;
  const result = await onHost(box, [
    PYTHON,
    '-c',
    pythonProbe(make),
    ...box.command([PYTHON, '-c', pythonProbe(script)]),
  ]);
  expect(result.stdout, result.stderr).toMatch(/made \d/);
  expectRefused(result, ['queue', 'shm'], ['ENOENT', 'EACCES', 'EPERM']);
  expectRecorded(box);
});
