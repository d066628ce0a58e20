// Gives a denied file a second name. Source: link(2): a link needs no right to read.
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';

forEachTier('no new name can be given to a denied or protected file', async (tier) => {
  using box = new AttackBox(tier);
  box.plant('.env', box.workspace);
  const result = await box.python(
    `
attempt('link', lambda: os.link('.env', 'copy'))
attempt('tmp', lambda: os.link('.env', '/tmp/copy'))
attempt('follow', lambda: os.link('/proc/self/cwd/.env', 'copy2', follow_symlinks=True))
fd = os.open('.', os.O_PATH)
attempt('at', lambda: os.link('.env', 'copy3', src_dir_fd=fd, dst_dir_fd=fd))
for name in ('copy', 'copy2', 'copy3', '/tmp/copy'): attempt('read ' + name, lambda: read_file(name))
`,
    { flags: ['--deny', '.env'] },
  );
  expectRefused(result, ['link', 'tmp', 'follow', 'at'], ['EXDEV', 'EPERM', 'EACCES', 'EBUSY']);
  expectRefused(result, ['read copy', 'read copy2', 'read copy3', 'read /tmp/copy'], ['ENOENT']);
  expectUnseen(result, box.canary);
  expectRecorded(box);
});
