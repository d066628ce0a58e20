// The launcher dies by SIGKILL while the command has cut every tie: PDEATHSIG cleared, own session, signals ignored. Source: prctl(2).
import { AttackBox, forEachTier, processesWith, until } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('nothing survives the death of the launcher', async (tier) => {
  using box = new AttackBox(tier);
  const run = box.startPython(`
libc.prctl(1, 0, 0, 0, 0)
os.setsid() if os.getpid() != os.getsid(0) else None
for number in (1, 2, 3, 13, 15): signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    libc.prctl(1, 0, 0, 0, 0)
    os.execv('/usr/bin/python3', ['${box.canary}-child', '-c', 'import time; time.sleep(300)'])
print('ready', flush=True)
os.execv('/usr/bin/python3', ['${box.canary}', '-c', 'import time; time.sleep(300)'])
`);
  await run.said('ready');
  await until(() => processesWith(`${box.canary}-child`).length > 0, 'the child');
  run.child.kill('SIGKILL');
  await run.ended;
  await until(() => processesWith(box.canary).length === 0, 'every process of the sandbox to end');
  expect(processesWith(box.canary)).toEqual([]);
});
