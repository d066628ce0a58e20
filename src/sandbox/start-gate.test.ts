import { setImmediate as turn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { StartGate } from './start-gate.ts';

it('lets so many through at a time, in order, also behind one that fails', async () => {
  const gate = new StartGate(2);
  const started: number[] = [];
  let running = 0;
  let most = 0;
  const work = (i: number) => async (): Promise<number> => {
    started.push(i);
    most = Math.max(most, ++running);
    await turn();
    running -= 1;
    if (i === 1) throw new Error('failed');
    return i;
  };
  const ends = await Promise.allSettled([0, 1, 2, 3, 4].map((i) => gate.run(work(i))));
  expect(ends.map((end) => end.status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
    'fulfilled',
  ]);
  expect(started).toEqual([0, 1, 2, 3, 4]);
  expect(most).toBe(2);
  expect(await gate.run(work(5))).toBe(5);
});
