import type { ChildProcess } from 'node:child_process';
import { afterEach, describe, expect, test } from 'vitest';
import { endHog, hogMissing, startHog } from './jail-memory.fixture.ts';
import { canReadJails, JailMemory } from './jail-memory.ts';

const MIB = 1024 * 1024;

describe.skipIf(hogMissing !== undefined)(
  `memory of a real jail (missing: ${hogMissing ?? 'nothing'})`,
  () => {
    const hogs: ChildProcess[] = [];
    const hog = async (script: string): Promise<number> => {
      const child = await startHog(`import os, signal, sys, time\n${script}`);
      hogs.push(child);
      return child.pid;
    };
    afterEach(async () => {
      await Promise.all(hogs.splice(0).map(endHog));
    });

    test('this machine shows it', () => {
      expect(canReadJails()).toBe(true);
    });

    test('counts all processes, and what they share once where it matters', async () => {
      const pid = await hog(`
held = bytearray(b'x') * (${96 * MIB})
for number in range(3):
    if os.fork() == 0: signal.pause()
time.sleep(0.2)
print('up', flush=True)
signal.pause()`);
      const memory = new JailMemory({ pid, guestKernel: false });
      expect(memory.read(Infinity)).toBeGreaterThan(4 * 96 * MIB);
      const exact = memory.read(0);
      expect(exact).toBeGreaterThan(96 * MIB);
      expect(exact).toBeLessThan(2 * 96 * MIB);
    });

    test('counts what stands in a memory file of a guest kernel, mapped or not, and once however many hold it', async () => {
      const pid = await hog(`
own = bytearray(b'x') * (${8 * MIB})
file = os.memfd_create('any-name')
os.ftruncate(file, ${1024 * MIB})
for at in range(96): os.pwrite(file, b'x' * ${MIB}, at * ${2 * MIB})
done, say = os.pipe()
if os.fork() == 0: own = own[:-1]; os.write(say, b'x'); time.sleep(60)
os.read(done, 1)
print('up', flush=True)
signal.pause()`);
      const memory = new JailMemory({ pid, guestKernel: true });
      const seen = memory.read(Infinity);
      expect(seen).toBeGreaterThan(104 * MIB);
      expect(seen).toBeLessThan(192 * MIB);
      expect(memory.read(Infinity), 'without another survey').toBe(seen);
    });

    test('says nothing of a jail that is over', async () => {
      const pid = await hog(`print('up', flush=True)\nsignal.pause()`);
      const memory = [true, false].map((guestKernel) => new JailMemory({ pid, guestKernel }));
      for (const one of memory) expect(one.read(Infinity)).toBeGreaterThan(0);
      await Promise.all(hogs.map(endHog));
      // Its first process hears of that end from the kernel.
      for (const one of memory) await expect.poll(() => one.read(Infinity)).toBeUndefined();
    });
  },
);
