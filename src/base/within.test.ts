import { getActiveResourcesInfo } from 'node:process';
import { expect, it } from 'vitest';
import { inTime, within } from './within.ts';

const never = new Promise<never>(() => undefined);
const failing = async (): Promise<never> => {
  throw new Error('work');
};
const late = (): Error => new Error('late');
const timers = (): number => getActiveResourcesInfo().filter((name) => name === 'Timeout').length;

it('says whether it settled in time', async () => {
  expect(await within(10_000, Promise.resolve())).toBe(true);
  expect(await within(1, never)).toBe(false);
  await expect(within(10_000, failing())).rejects.toThrow('work');
});

it('answers what came in time, else throws what it is told to', async () => {
  expect(await inTime(10_000, Promise.resolve(7), late)).toBe(7);
  await expect(inTime(1, never, late)).rejects.toThrow('late');
  await expect(inTime(10_000, failing(), late)).rejects.toThrow('work');
});

it('leaves no timer behind', async () => {
  const before = timers();
  await Promise.all([within(10_000, Promise.resolve()), inTime(10_000, Promise.resolve(), late)]);
  expect(timers()).toBe(before);
});
