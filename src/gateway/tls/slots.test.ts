import { expect, test } from 'vitest';
import { Slots } from './slots.ts';

test('waiters come in order, and one that gave up takes no place', async () => {
  const slots = new Slots(1);
  expect(await slots.take(10)).toBe(true);
  const order: string[] = [];
  const late = slots.take(5).then((got) => order.push(`late ${got}`));
  const first = slots.take(5_000).then((got) => order.push(`first ${got}`));
  const second = slots.take(5_000).then((got) => order.push(`second ${got}`));
  await late;
  expect(slots.waiting).toBe(2);
  slots.give();
  await first;
  slots.give();
  await second;
  expect(order).toEqual(['late false', 'first true', 'second true']);
  slots.give();
  expect(await slots.take(0)).toBe(true);
});
