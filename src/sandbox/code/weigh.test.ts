import { describe, expect, it } from 'vitest';
import { countValues } from './weigh.ts';

const count = (text: string, most = 1000): number => countValues(Buffer.from(text), most);

describe('counting the values of a JSON text', () => {
  it.each([
    ['7', 1],
    ['[]', 2],
    ['[1,2,{"a":3}]', 5],
    ['"[[[,,,{{{"', 1],
    [String.raw`["a\"[[[",","]`, 3],
    [String.raw`["\\",[1],"\\\"["]`, 5],
    ['["cut', 2],
  ])('%s', (text, values) => {
    expect(count(text)).toBe(values);
  });

  it('stops when there are too many', () => {
    expect(count('['.repeat(100_000), 10)).toBe(11);
  });
});
