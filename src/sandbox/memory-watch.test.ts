import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, describe, expect, test } from 'vitest';
import { endHog, hogMissing, startHog } from '../drivers/limits/jail-memory.fixture.ts';
import { MemoryWatch } from './memory-watch.ts';

const MIB = 1024 * 1024;
/** Takes another MiB every few milliseconds, and says that it has begun. */
const GROWING = `
import time
print('up', flush=True)
held = []
while True:
    held.append(bytearray(b'x') * ${MIB})
    time.sleep(0.002)`;

describe.skipIf(hogMissing !== undefined)(`a watch over memory (missing: ${hogMissing ?? 'nothing'})`, () => {
  const hogs: ChildProcess[] = [];
  afterEach(async () => {
    await Promise.all(hogs.splice(0).map(endHog));
  });

  test('sees that a jail grows beyond its limit, and that it is over', async () => {
    const hog = await startHog(GROWING);
    hogs.push(hog);
    const exited = once(hog, 'exit');
    using watch = new MemoryWatch({
      pid: hog.pid,
      guestKernel: false,
      limitBytes: 64 * MIB,
      onOver: () => hog.kill('SIGKILL'),
    });
    // The timers of the watch keep no process alive; the jail's end does.
    await exited;
    expect(watch.over).toBe(true);
    expect(watch.peakBytes).toBeGreaterThan(64 * MIB);
    await expect.poll(() => watch.currentBytes()).toBeUndefined();
  });

  test('leaves one alone that stays below', async () => {
    const hog = await startHog(`import time\nprint('up', flush=True)\ntime.sleep(0.7)`);
    hogs.push(hog);
    const exited = once(hog, 'exit');
    using watch = new MemoryWatch({
      pid: hog.pid,
      guestKernel: false,
      limitBytes: 256 * MIB,
      onOver: () => hog.kill('SIGKILL'),
    });
    expect(await exited).toEqual([0, null]);
    expect(watch.over).toBe(false);
    expect(watch.peakBytes).toBeGreaterThan(0);
    expect(watch.peakBytes).toBeLessThan(256 * MIB);
  });
});
