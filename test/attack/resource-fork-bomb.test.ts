// Forks without end. Source: ":(){ :|:& };:"; srt has no limit at all.
import { expect } from 'vitest';
import {
  AttackBox,
  expectEvent,
  expectRecorded,
  forEachTier,
  outcomes,
  processesWith,
} from '../support/attack.ts';

forEachTier('a fork bomb meets the limit on processes', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
marker, made, refusal = '${box.canary}', 0, 'none'
for number in range(400):
    try: pid = os.fork()
    except OSError as error:
        refusal = reason(error); break
    if pid == 0:
        signal.pause(); os._exit(0)
    made += 1
report('made', made); report('refusal', refusal)
`,
    { flags: ['--pids', '64'] },
  );
  const seen = outcomes(result);
  expect(seen['refusal'], result.stdout + result.stderr).toBe('EAGAIN');
  expect(Number(seen['made'])).toBeLessThan(64);
  expect(processesWith(box.canary)).toEqual([]);
  // Only a cgroup counts refusals; an rlimit, all that an ordinary user and a guest kernel have, tells nobody.
  if (process.getuid?.() === 0 && tier === 'process') expectEvent(box, 'limit.hit', { limit: 'pids' });
  expectRecorded(box);
});
