// Opens a denied file by a path descriptor and /proc/self/fd, or by openat from odd places. Source: open(2) O_PATH; proc_pid_fd(5).
import { AttackBox, expectRecorded, expectUnseen, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('descriptors and /proc give no way to a denied file', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('.env', box.workspace);
  const result = await box.python(
    `
def by_descriptor():
    fd = os.open('.env', os.O_PATH)
    return read_file(f'/proc/self/fd/{fd}')
attempt('fd', by_descriptor)
for base in ('/proc/self/cwd', '/proc/self/root${box.workspace}', '/proc/1/cwd${box.workspace}', '/proc/1/root${box.workspace}', '/proc/self/task/self/cwd'):
    attempt(base, lambda: read_file(base + '/.env'))
attempt('dirfd', lambda: os.read(os.open('.env', os.O_RDONLY, dir_fd=os.open('${secret.replace('/.env', '')}', os.O_PATH)), 99))
report('done', 'EACCES')
`,
    { flags: ['--deny', '.env'] },
  );
  expect(result.stdout).not.toContain('=OK');
  expect(result.stdout, result.stderr).toContain('done=');
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
