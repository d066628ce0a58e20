import { COMMANDS } from './table.ts';

/** `glovebox help`. */
export function helpText(): string {
  const width = Math.max(...COMMANDS.map((row) => row.name.length));
  const rows = COMMANDS.map((row) => `  ${row.name.padEnd(width)}  ${row.summary}`);
  return [
    'glovebox: a containment runtime for AI agents',
    '',
    'Usage: glovebox run [options] -- COMMAND [ARG…]',
    '       glovebox -- COMMAND [ARG…]              the same, with the defaults',
    '',
    'Commands:',
    ...rows,
    `  ${'help'.padEnd(width)}  this text, or that of one command`,
    '',
    "Exit codes: the command's own; 124 timed out; 125 Glovebox refused or failed; 126/127 not executable/not found;",
    '            128+n ended by signal n; 137 killed by a limit.',
    'See `glovebox help COMMAND` for options, `glovebox doctor` for this machine.',
    '',
  ].join('\n');
}

/** Full help of one command; undefined when there is none of that name. */
export async function helpFor(name: string): Promise<string | undefined> {
  const row = COMMANDS.find((candidate) => candidate.name === name);
  return row === undefined ? undefined : (await row.load()).usage;
}
