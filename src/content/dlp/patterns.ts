import { KEYS } from './keys.ts';
import { LOGINS } from './logins.ts';
import { describeForm } from './pattern.ts';
import type { DlpPattern } from './pattern.ts';
import { TOKENS } from './tokens.ts';

/** Everything that the scanner knows by itself, in the order in which it is asked. */
export const DLP_PATTERNS: readonly DlpPattern[] = [...KEYS, ...TOKENS, ...LOGINS];

/** The table as Markdown, for the reference. */
export function patternReference(): string {
  const rows = [...DLP_PATTERNS]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map((row) => `| \`${row.id}\` | ${row.what} | ${seenBy(row)} |`);
  return [
    '# Built-in patterns for data that must not leave',
    '',
    'The scanner knows these when `network.dlp.patterns` is on. Each is looked for in the host name, path, query, headers, body and WebSocket messages, also under the codings that `decodeDepth` undoes. `<36 alnum>` stands for 36 letters and digits, `<20+ base64url>` for at least 20; repeated or counting letters, as manuals write them, do not count.',
    '',
    '| id | what | seen by |',
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

function seenBy(row: DlpPattern): string {
  const text = row.form === undefined ? row.literals.join(', ') : describeForm(row.form);
  return `\`${text.replaceAll('|', '\\|').replaceAll('`', "'")}\``;
}
