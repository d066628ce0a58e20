import { word, words, type EventSpec } from './spec.ts';

export interface RunCommand {
  readonly argv: readonly string[];
  readonly cwd: string;
}

export const runCommand: EventSpec<RunCommand> = {
  kind: 'run.command',
  doc: 'A command is started in a sandbox.',
  fields: { argv: 'program and arguments', cwd: 'working directory inside' },
  say: (data) => `${words(data['argv'])}  (in ${word(data, 'cwd')})`,
};
