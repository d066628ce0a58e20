// Opens files without end. Source: setrlimit(2) RLIMIT_NOFILE; the file table of the host is shared.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, expectRefused, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('open files are bounded, and the limit cannot be raised', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
import resource
held = []
try:
    for number in range(500): held.append(os.open('/dev/null', os.O_RDONLY))
    outcome = 'OK'
except OSError as error: outcome = reason(error)
os.close(held.pop())
def raise_limit():
    try: resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    except ValueError: raise OSError(errno.EPERM, '')
report('open', outcome); report('count', len(held)); attempt('raise', raise_limit)
`,
    { flags: ['--files', '64'] },
  );
  expectRefused(result, ['open'], ['EMFILE']);
  expectRefused(result, ['raise'], ['EPERM']);
  expect(Number(outcomes(result)['count'])).toBeLessThan(64);
  expectRecorded(box);
});
