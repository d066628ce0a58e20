// Writes one huge file into the workspace. Source: setrlimit(2) RLIMIT_FSIZE; full disks of build servers.
import { statSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('a file stops at its limit, and the limit cannot be raised', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
def grow():
    with open('big', 'wb', buffering=0) as file:
        for _ in range(4): 
            if file.write(bytes(1 << 20)) < 1 << 20: raise OSError(errno.EFBIG, '')
attempt('write', grow)
attempt('sparse', lambda: os.truncate('big', 1 << 40))
attempt('allocate', lambda: os.posix_fallocate(os.open('big', os.O_WRONLY), 0, 1 << 30))
def raise_limit():
    try: resource.setrlimit(resource.RLIMIT_FSIZE, (-1, -1))
    except ValueError: raise OSError(errno.EPERM, '')
attempt('raise', raise_limit)
`,
    { flags: ['--file-size', '1MiB'] },
  );
  expectRefused(result, ['write', 'sparse', 'allocate'], ['EFBIG']);
  expectRefused(result, ['raise'], ['EPERM']);
  expect(statSync(path.join(box.workspace, 'big')).size).toBeLessThanOrEqual(1 << 20);
  expectRecorded(box);
});
