// Leaves orphans for pid 1 to bury; if it does not, they fill the process table. Source: wait(2); the pid-1 problem of containers.
import { AttackBox, expectRecorded, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('orphans are reaped', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
for number in range(300):
    pid = os.fork()
    if pid == 0:
        try:
            if os.fork() == 0: os._exit(0)
        finally: os._exit(0)
    os.waitpid(pid, 0)
end = time.monotonic() + 5
count = 99
while count > 8 and time.monotonic() < end:
    count = len([name for name in os.listdir('/proc') if name.isdigit()])
report('few', count <= 8)
`,
    { flags: ['--pids', '64'] },
  );
  expectRefused(result, ['few'], ['True']);
  expectRecorded(box);
});
