import { describe, expect, it } from 'vitest';
import { caught } from '../policy/fixture.ts';
import { ownWordCount, parseRun } from './options.ts';

describe('parseRun', () => {
  it.each([
    ['tier', 'contaner', 'container'],
    ['driver', 'dokcer', 'docker'],
  ])('names what comes nearest to an unknown %s', (option, found, near) => {
    expect(caught(() => parseRun([`--${option}`, found, 'true']))).toMatchObject({
      code: 'E_USAGE',
      what: `there is no ${option} "${found}"`,
      next: expect.stringContaining(`did you mean ${near}?`),
    });
  });
});

describe('ownWordCount', () => {
  it.each([
    ['npm ls --json', 0],
    ['--json npm ls --json', 1],
    ['-q --allow a.test --json -- cmd --help', 4],
    ['--memory=1GiB git --help', 1],
    ['--allow', 1],
  ])('%s: %i', (line, count) => expect(ownWordCount(line.split(' '))).toBe(count));

  it('agrees with the parser about where the command begins', () => {
    const args = ['-p', 'node', '--timeout', '5s', '-v', 'npm', '--json', '-p'];
    expect(parseRun(args).command).toEqual(args.slice(ownWordCount(args)));
  });
});
