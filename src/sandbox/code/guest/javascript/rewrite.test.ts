import { describe, expect, it } from 'vitest';
import { rewriteModuleSyntax } from './rewrite.ts';

describe('module syntax in a cell', () => {
  it.each([
    ["import 'a';", "await __glovebox.import('a');"],
    ["import x from 'a'", 'const { "default": x } = await __glovebox.import(\'a\');'],
    ["import * as x from 'a';", "const x = await __glovebox.import('a');"],
    ["import { y, z as w } from 'a';", 'const { "y": y, "z": w } = await __glovebox.import(\'a\');'],
    ["import x, * as y from 'a';", 'const y = await __glovebox.import(\'a\'); const { "default": x } = y;'],
    ["await import('a')", "await __glovebox.import('a')"],
    ['export const x = 1;', 'const x = 1;'],
    ['export default 5', '5'],
    ['const imported = 1; // import', 'const imported = 1; // import'],
  ])('%s', (code, expected) => {
    expect(rewriteModuleSyntax(code)).toBe(expected);
  });

  it('keeps every line where it was', () => {
    const code = "import {\n  a,\n  b,\n} from 'x';\nthrow 1";
    expect(rewriteModuleSyntax(code).split('\n')[4]).toBe('throw 1');
  });

  it('leaves what does not parse as it is', () => {
    expect(rewriteModuleSyntax('import {')).toBe('import {');
  });
});
