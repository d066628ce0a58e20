// Attaches System V shared memory, semaphores and queues of the host. Source: sysvipc(7); databases of the same user keep pages there.
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  expectUnseen,
  forEachTier,
  onHost,
  pythonProbe,
  PYTHON,
} from '../support/attack.ts';
import { randomInt } from 'node:crypto';

forEachTier('System V objects of the host are not there', async (tier) => {
  using box = new AttackBox(tier);
  const key = randomInt(0x10000000, 0x7fffffff);
  const make = `
import subprocess
id = libc.shmget(${key}, 4096, 0o1666)
libc.shmat.restype = ctypes.c_void_p
ctypes.memmove(libc.shmat(id, None, 0), b'${box.canary}', ${box.canary.length})
print('made', id, libc.semget(${key}, 1, 0o1666), libc.msgget(${key}, 0o1666), flush=True)
subprocess.run(sys.argv[1:])
libc.shmctl(id, 0, None); libc.semctl(libc.semget(${key}, 1, 0), 0, 0); libc.msgctl(libc.msgget(${key}, 0), 0, None)
`;
  const script = `
for name, call in (('shm', lambda: libc.shmget(${key}, 0, 0)), ('sem', lambda: libc.semget(${key}, 0, 0)), ('msg', lambda: libc.msgget(${key}, 0))):
    report(name, 'found' if call() >= 0 else errno.errorcode[ctypes.get_errno()])
print(read_file('/proc/sysvipc/shm').decode())
`;
  const result = await onHost(box, [
    PYTHON,
    '-c',
    pythonProbe(make),
    ...box.command([PYTHON, '-c', pythonProbe(script)]),
  ]);
  expect(result.stdout, result.stderr).toContain('made');
  expectRefused(result, ['shm', 'sem', 'msg'], ['ENOENT']);
  expect(result.stdout).not.toContain(String(key));
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
