import { SYSCALL_NUMBERS } from './numbers.ts';
import type { SyscallName } from './numbers.ts';
import type { Row } from './row.ts';
import { PLACE_CALLS } from './table-places.ts';
import { SYSCALL_GROUPS, syscallRows } from './table.ts';

const HEAD = `# System-call filter

Made from \`src/drivers/seccomp/\`; run \`npm run gen\` after a change.

Every program in a sandbox runs behind a seccomp filter. Only the calls listed as allowed pass; a number that is not listed gets
ENOSYS, so that programs use what older kernels have. A call for another architecture, or through the x32 ABI, ends the process.

| answer | meaning |
|---|---|
| allowed | passes in every profile |
| not in \`strict\` | passes in \`default\` and \`debug\`; else ENOSYS |
| only in \`debug\` | passes in \`debug\`; else EPERM |
| only with nesting | passes with \`process.nesting: true\`; else EPERM |
| EPERM | refused: the program is told that it may not |
| ENOSYS | refused as if the kernel did not have it |

Arguments that are pointers cannot be judged by seccomp(2): paths are the business of the view and of Landlock.
`;

const PLACES = [
  ['In the jail around gVisor (container tier), besides what nesting allows', PLACE_CALLS.runtime],
  ['Inside gVisor (container tier), other than in the process tier', PLACE_CALLS.guest],
  ['Around a `RUN` of a recipe, other than around commands', PLACE_CALLS.recipe],
] as const;

/** The text of docs/reference/seccomp.md, made from the table. */
export function seccompReference(): string {
  const groups = SYSCALL_GROUPS.map((group) => section(group.title, group.rows)).join('');
  return `${HEAD}${groups}${PLACES.map(([title, rows]) => exceptions(title, rows)).join('')}`;
}

function section(title: string, rows: Partial<Record<SyscallName, Row>>): string {
  const lines = syscallRows(rows).map(([name, row]) => line(name, row));
  return `\n## ${title}\n\n| call | x86-64 | arm64 | answer | why |\n|---|---|---|---|---|\n${lines.join('\n')}\n`;
}

function exceptions(title: string, rows: Partial<Record<SyscallName, Row>>): string {
  const lines = syscallRows(rows).map(
    ([name, row]) =>
      `- \`${name}\`: ${answer(row)}: ${row.why}${row.rule === undefined ? '' : `. ${row.rule.text}`}`,
  );
  return `\n## ${title}\n\n${lines.join('\n')}\n`;
}

function line(name: SyscallName, row: Row): string {
  const [x64, arm64] = SYSCALL_NUMBERS[name].map((nr) => (nr < 0 ? '–' : String(nr)));
  const why = row.rule === undefined ? row.why : `${row.why}. ${row.rule.text}`;
  return `| ${name} | ${x64} | ${arm64} | ${answer(row)} | ${why} |`;
}

function answer(row: Row): string {
  const answers: Record<Row['when'], string> = {
    always: row.rule === undefined ? 'allowed' : 'allowed by argument',
    never: row.errno === 'NONE' ? 'succeeds' : row.errno,
    relaxed: 'not in `strict`',
    debug: 'only in `debug`',
    nesting: 'only with nesting',
  };
  return answers[row.when];
}
