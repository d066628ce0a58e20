// Kills or stops pid 1 to be left alone without a guard. Source: pid_namespaces(7).
import { AttackBox, expectRecorded, expectRefused, expectUnseen, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('killing pid 1 does not lift the protections', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('.env', box.workspace);
  const result = await box.python(
    `
# Never at the host's own first process, should the namespace be missing.
alone = len([name for name in os.listdir('/proc') if name.isdigit()]) < 10
report('alone', alone)
for number in () if not alone else (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGSEGV, signal.SIGHUP):
    try: os.kill(1, number)
    except OSError: pass
time.sleep(0.05)
attempt('read', lambda: read_file('${secret}'))
attempt('write', lambda: write_file('.envrc'))
`,
    { flags: ['--deny', '.env'] },
  );
  if (result.code === 0) expectRefused(result, ['read', 'write'], ['EACCES', 'EPERM', 'EROFS', 'EISDIR']);
  expect(result.stdout, result.stderr).toContain('alone=True');
  expectUnseen(result, box.canary);
  expect(box.listing()).toEqual(['.env']);
  expectRecorded(box);
});
