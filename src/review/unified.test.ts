import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editLines } from './lines.ts';
import { leavesTree } from './links.ts';
import { unifiedDiff } from './unified.ts';

const line = fc.constantFrom('a', 'b', 'c', 'longer line', '');
const text = fc
  .tuple(fc.array(line, { maxLength: 40 }), fc.boolean())
  .map(([lines, ends]) => lines.join('\n') + (ends && lines.length > 0 ? '\n' : ''));

describe('a unified diff', () => {
  it('makes the new text of the old one, by patch(1)', () => {
    if (spawnSync('patch', ['--version']).status !== 0) expect.fail('patch is not installed');
    const dir = mkdtempSync('/var/tmp/gbx-patch-');
    // patch(1) removes directories that it leaves empty, too.
    writeFileSync(path.join(dir, 'keep'), '');
    try {
      fc.assert(
        fc.property(text, text, (before, after) => {
          const file = path.join(dir, 'file');
          writeFileSync(file, before);
          const diff = unifiedDiff(before, after) ?? '';
          if (diff !== '')
            execFileSync('patch', ['-s', '-f', '-E', '--no-backup-if-mismatch', file], {
              input: `--- file\n+++ file\n${diff}`,
            });
          // It removes a file that it leaves empty.
          const now = existsSync(file) ? readFileSync(file, 'utf8') : '';
          return now === after;
        }),
        { numRuns: 60 },
      );
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  });

  it('is the shortest one', () => {
    fc.assert(
      fc.property(fc.array(line, { maxLength: 12 }), fc.array(line, { maxLength: 12 }), (a, b) => {
        const edits = editLines(a, b, 100) ?? [];
        const old = edits.filter(({ kind }) => kind !== '+').map(({ text: one }) => one);
        const now = edits.filter(({ kind }) => kind !== '-').map(({ text: one }) => one);
        const changed = edits.filter(({ kind }) => kind !== ' ').length;
        return (
          JSON.stringify([old, now]) === JSON.stringify([a, b]) &&
          changed === a.length + b.length - 2 * common(a, b)
        );
      }),
    );
  });

  it('gives up where everything differs, and writes what a terminal would obey as escapes', () => {
    const many = (word: string): string => Array.from({ length: 3000 }, (_, i) => `${word}${i}\n`).join('');
    expect(unifiedDiff(many('a'), many('b'))).toBeUndefined();
    expect(unifiedDiff('', '\u001b]0;x\u0007\tok\r\n')).toBe('@@ -0,0 +1 @@\n+\\x1b]0;x\\x07\tok\\x0d\n');
    expect(unifiedDiff('a', 'a\n')).toBe('@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n');
  });
});

/** Length of the longest common subsequence, by the book. */
function common(a: readonly string[], b: readonly string[]): number {
  const rows = Array.from({ length: a.length + 1 }, () => Array.from({ length: b.length + 1 }, () => 0));
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++) {
      const row = rows[i] ?? [];
      const above = rows[i - 1] ?? [];
      row[j] = a[i - 1] === b[j - 1] ? (above[j - 1] ?? 0) + 1 : Math.max(above[j] ?? 0, row[j - 1] ?? 0);
    }
  return rows[a.length]?.[b.length] ?? 0;
}

describe('a symbolic link', () => {
  it.each([
    ['a', 'b', {}, false],
    ['d/a', '../b', {}, false],
    ['d/a', '../../b', {}, true],
    ['a', '/etc/passwd', {}, true],
    ['a', 'd/../../x', {}, true],
    ['a', 'l/../x', { l: 'd/e' }, false],
    ['a', 'l/../../x', { l: 'd/e' }, false],
    ['a', 'l/../../../x', { l: 'd/e' }, true],
    ['a', 'l/x', { l: '/etc' }, true],
    ['a', 'l', { l: 'm', m: 'a', a: 'l' }, true],
    ['a', './/b/./c', {}, false],
  ])('%s -> %s with %j leads out: %s', (at, target, links, out) => {
    expect(leavesTree(at, target, new Map(Object.entries(links)))).toBe(out);
  });
});
