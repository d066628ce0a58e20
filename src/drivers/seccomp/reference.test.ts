import { expect, test } from 'vitest';
import { seccompReference } from './reference.ts';
import { SYSCALL_GROUPS, syscallRows } from './table.ts';

test('the page has a row with a reason for every call, once', () => {
  const rows = seccompReference()
    .split('\n')
    .filter((line) => /^\| \w+ \| (\d+|–) \| /.test(line));
  const names = rows.map((line) => line.split(' ')[1]);
  expect(names.length).toBe(syscallRows().length);
  expect(new Set(names).size).toBe(names.length);
  for (const row of rows) expect(row.split(' | ').at(-1)?.length, row).toBeGreaterThan(4);
});

test('no call is in two groups', () => {
  const names = SYSCALL_GROUPS.flatMap((group) => syscallRows(group.rows).map(([name]) => name));
  expect(new Set(names).size).toBe(names.length);
  expect(names.length).toBe(syscallRows().length);
});

test('answers are named as the filter gives them', () => {
  const page = seccompReference();
  expect(page).toContain('| read | 0 | 63 | allowed | read a descriptor |');
  expect(page).toContain('| ptrace | 101 | 117 | only in `debug` |');
  expect(page).toContain('| mount | 165 | 40 | only with nesting |');
  expect(page).toContain('| clone3 | 435 | 435 | ENOSYS |');
  expect(page).toContain('| bpf | 321 | 280 | EPERM |');
});
