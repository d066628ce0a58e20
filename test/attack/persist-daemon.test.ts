// Forks twice into a session of its own, closes everything and ignores every signal. Source: daemon(7).
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier, processesWith } from '../support/attack.ts';

forEachTier('a daemon ends with the command', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for number in range(1, 65):
            try: signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError): pass
        os.write(write, b'up')
        os.closerange(0, 64)
        os.execv('/usr/bin/python3', ['${box.canary}', '-c', 'import time; time.sleep(300)'])
    os._exit(0)
os.wait()
report('daemon', os.read(read, 2).decode())
`);
  expect(result.stdout).toBe('daemon=up\n');
  expect(processesWith(box.canary)).toEqual([]);
  expectRecorded(box);
});
