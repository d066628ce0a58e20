import { GloveboxError } from '../../base/errors.ts';
import type { CliCommand } from '../contract.ts';
import { runForeground } from '../foreground.ts';
import { optionHelp, parseRun } from '../options.ts';

export const shellCommand: CliCommand = {
  name: 'shell',
  summary: 'open an interactive shell in a sandbox',
  usage: [
    'Usage: glovebox shell [options]',
    '',
    'Opens bash in a sandbox, in the current directory.',
    '',
    optionHelp(),
  ].join('\n'),
  run: async (args, io) => {
    const parsed = parseRun(args);
    if (parsed.command.length > 0) {
      throw new GloveboxError('E_USAGE', {
        what: 'shell takes no command',
        next: 'Use `glovebox run -- COMMAND` for one command.',
      });
    }
    return runForeground(parsed, ['/bin/bash', '-i'], io);
  },
};
