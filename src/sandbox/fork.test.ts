import { describe, expect, it } from 'vitest';
import { checkForkCount, FORKS_MAX } from './fork.ts';

describe('the number of copies', () => {
  it.each([1, 2, FORKS_MAX])('may be %s', (count) => {
    expect(() => checkForkCount(count)).not.toThrow();
  });

  it.each([
    [0, 'E_USAGE'],
    [-1, 'E_USAGE'],
    [1.5, 'E_USAGE'],
    [Number.NaN, 'E_USAGE'],
    [Infinity, 'E_USAGE'],
    [FORKS_MAX + 1, 'E_LIMIT_EXCEEDED'],
    [1000, 'E_LIMIT_EXCEEDED'],
  ])('may not be %s', (count, code) => {
    expect(() => checkForkCount(count)).toThrow(expect.objectContaining({ code }));
  });
});
