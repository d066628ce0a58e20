import type { CliCommand } from '../contract.ts';
import { runForeground } from '../foreground.ts';
import { optionHelp, parseRun } from '../options.ts';
import { GloveboxError } from '../../base/errors.ts';

export const runCommand: CliCommand = {
  name: 'run',
  summary: 'run a command in a sandbox',
  usage: [
    'Usage: glovebox run [options] [--] COMMAND [ARG…]',
    '',
    'Runs COMMAND sealed: it sees the workspace and the base system, reaches the hosts that the policy names,',
    'and spends no more than its limits. Without a policy: the current directory, no network.',
    '',
    optionHelp(),
    '',
    'Examples:',
    '  glovebox run -- npm test',
    '  glovebox run --profile node -- npm install',
    '  glovebox run --allow api.example.com --env API_BASE -- ./agent',
  ].join('\n'),
  run: async (args, io) => {
    const parsed = parseRun(args);
    if (parsed.command.length === 0) {
      throw new GloveboxError('E_USAGE', {
        what: 'no command to run',
        next: 'Use: glovebox run [options] -- COMMAND [ARG…]',
      });
    }
    return runForeground(parsed, parsed.command, io);
  },
};
