import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const text = readFileSync(path.join(ROOT, 'SPECIFICATION.md'), 'utf8');

/** The promises by number, each with the tests it names after its dash. */
const promises = text
  .split(/^(?=\d+\. )/m)
  .slice(1)
  .map((one) => ({ number: Number(/^\d+/.exec(one)?.[0]), tests: namesIn(one.split('—').at(-1) ?? '') }));

function namesIn(list: string): readonly string[] {
  return [...list.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
}

const ATTACKS = readdirSync(path.join(ROOT, 'test/attack'));

/** A path as it is; anything else is the name of an attack, perhaps with a star at its end. */
function exists(name: string): boolean {
  if (name.includes('/')) return existsSync(path.join(ROOT, name));
  const start = name.endsWith('*') ? name.slice(0, -1) : `${name}.test.ts`;
  return ATTACKS.some((file) => file.startsWith(start));
}

describe('SPECIFICATION.md', () => {
  it('numbers its promises without a gap', () => {
    expect(promises.map(({ number }) => number)).toEqual(promises.map((_, index) => index + 1));
  });

  it.each(promises.map(({ number, tests }) => [number, tests] as const))(
    'promise %i names tests that exist',
    (_number, tests) => {
      expect(tests.filter((name) => !exists(name) && !name.startsWith('npm '))).toEqual([]);
    },
  );
});
