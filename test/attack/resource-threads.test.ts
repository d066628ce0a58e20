// Starts threads without end. Source: pthread_create(3); RLIMIT_NPROC and pids.max count threads, "processes" limits elsewhere do not.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, outcomes } from '../support/attack.ts';

forEachTier('threads count against the limit', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
import threading, _thread
stop, made, refusal = threading.Event(), 0, 'none'
threading.stack_size(65536)
for number in range(400):
    try: _thread.start_new_thread(stop.wait, ())
    except (RuntimeError, OSError):
        refusal = 'refused'; break
    made += 1
report('made', made); report('refusal', refusal)
os._exit(0)
`,
    { flags: ['--pids', '64'] },
  );
  const seen = outcomes(result);
  expect(seen['refusal'], result.stdout + result.stderr).toBe('refused');
  expect(Number(seen['made'])).toBeLessThan(64);
  expectRecorded(box);
});
