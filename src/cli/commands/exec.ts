import type { AgentProcess } from '../../agent/contract.ts';
import { commandError } from '../../agent/start-error.ts';
import { GloveboxError } from '../../base/errors.ts';
import { connectChamber } from '../../sandbox/attach/remote.ts';
import type { Chamber } from '../../sandbox/chamber.ts';
import { insidePath } from '../../sandbox/inside.ts';
import type { CliCommand, CliIo } from '../contract.ts';
import { parseWords, type ParsedWords } from '../image/args.ts';
import { startRelay } from '../relay.ts';
import { sandboxId } from '../sandboxes/find.ts';
import { SignalCatcher } from '../signals.ts';
import { chooseStdio, descriptorKind, type StdioPlan } from '../stdio.ts';

const OPTIONS = { '--workdir': 'once', '-w': 'once', '--env': 'many', '-e': 'many' } as const;

export const execCommand: CliCommand = {
  name: 'exec',
  summary: 'run a command in a living sandbox',
  usage: [
    'Usage: glovebox exec [options] ID|NAME -- COMMAND [ARG…]',
    '',
    'Runs a command in a sandbox that another process of this user holds, with our input, output and signals. With a terminal on both',
    'ends the command gets one of its own. The sandbox lives on afterwards.',
    '',
    '  -w, --workdir DIR      directory inside (default: the workspace)',
    '  -e, --env NAME=VALUE   a variable for the command; may be repeated',
    '',
    "Exit code: the command's own; 128+n when a signal ended it, 125 when the sandbox was lost, 126/127 when it could not be started.",
    '',
    'Examples:',
    '  glovebox exec sbx_… -- bash',
    '  tar c src | glovebox exec builder -- tar x',
  ].join('\n'),
  run: async (args, io) => {
    const dashes = args.indexOf('--');
    const own = dashes === -1 ? args : args.slice(0, dashes);
    const command = dashes === -1 ? [] : args.slice(dashes + 1);
    const parsed = parseWords(own, OPTIONS, 'exec');
    const [word, extra] = parsed.words;
    if (word === undefined || extra !== undefined || command.length === 0)
      throw new GloveboxError('E_USAGE', {
        what: 'exec needs one sandbox and, behind --, a command',
        next: 'Use: glovebox exec ID|NAME -- COMMAND [ARG…]',
      });
    const chamber = await connectChamber(await sandboxId(word, io.env), io.env);
    try {
      return await relayed(chamber, { command, parsed, io });
    } finally {
      chamber.disconnect();
    }
  },
};

interface ExecRun {
  readonly command: readonly string[];
  readonly parsed: ParsedWords;
  readonly io: CliIo;
}

/** Runs the command between our own descriptors, and answers its exit code. */
async function relayed(chamber: Chamber, run: ExecRun): Promise<number> {
  const plan = chooseStdio({
    kinds: [descriptorKind(0), descriptorKind(1), descriptorKind(2)],
    countOutput: false,
    landlock: false,
    // Nothing of ours can be handed over to a sandbox of another process.
    guestKernel: true,
  });
  const signals = new SignalCatcher();
  try {
    const main = start(chamber, run, plan);
    const relay = startRelay({
      main,
      plan,
      io: run.io,
      signals,
      onOutputLimit: () => undefined,
      onSignal: () => undefined,
    });
    try {
      const exit = await main.exit;
      await relay.drained;
      const failed = commandError(exit, run.command[0] ?? '');
      if (failed !== undefined) throw failed;
      return exit.status;
    } finally {
      relay.stop();
    }
  } finally {
    signals[Symbol.dispose]();
  }
}

function start(chamber: Chamber, { command, parsed, io }: ExecRun, plan: StdioPlan): AgentProcess {
  const { settings } = chamber;
  const workdir = parsed.one('--workdir') ?? parsed.one('-w');
  const term = plan.terminal && io.env['TERM'] !== undefined ? { TERM: io.env['TERM'] } : {};
  const named = Object.fromEntries([...parsed.all('--env'), ...parsed.all('-e')].map(variableOf));
  const size = plan.terminal ? { rows: process.stdout.rows, cols: process.stdout.columns } : undefined;
  return chamber.channel.exec({
    argv: [...command],
    env: { ...settings.env, ...term, ...named },
    cwd: workdir === undefined ? settings.cwd : insidePath(workdir, settings.cwd, 'E_CWD_INVALID'),
    stdio: plan.command,
    ...(size === undefined ? {} : { terminal: size }),
  });
}

function variableOf(text: string): readonly [string, string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new GloveboxError('E_USAGE', { what: `"${text}" is no variable`, next: 'Use --env NAME=VALUE.' });
}
