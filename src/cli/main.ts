import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { EXIT } from '../base/exit-codes.ts';
import { nearest } from '../base/nearest.ts';
import type { CliIo } from './contract.ts';
import { helpFor, helpText } from './help.ts';
import { ownWordCount } from './options.ts';
import { COMMANDS } from './table.ts';

/** Runs one command line and returns the exit code; every failure is a message on stderr, never a stack trace. */
export async function main(argv: readonly string[], io: CliIo): Promise<number> {
  try {
    return await dispatch(argv, io);
  } catch (error) {
    const [verb, ...words] = argv;
    const own = verb === 'run' ? words.slice(0, ownWordCount(words)) : argv.slice(0, separatorIndex(argv));
    const json = own.includes('--json');
    return report(error, json && !io.json ? withJson(io) : io);
  }
}

async function dispatch(argv: readonly string[], io: CliIo): Promise<number> {
  const [first, ...rest] = argv;
  if (first === '--json') return dispatch(rest, withJson(io));
  if (first === undefined) {
    io.stderr.write(helpText());
    return EXIT.refused;
  }
  if (first === '--') return runVerb('run', argv, io);
  if (first === 'help' || first === '--help' || first === '-h') return help(rest[0], io);
  if (first === '--version' || first === '-V') return runVerb('version', [], io);
  return runVerb(first, rest, io);
}

async function runVerb(name: string, args: readonly string[], io: CliIo): Promise<number> {
  const row = COMMANDS.find((candidate) => candidate.name === name);
  if (row === undefined) throw unknownCommand(name);
  const command = await row.load();
  const own = args.slice(0, name === 'run' ? ownWordCount(args) : separatorIndex(args));
  if (own.includes('--help') || own.includes('-h')) {
    io.stdout.write(`${command.usage}\n`);
    return EXIT.ok;
  }
  const rest = args.filter((arg, i) => arg !== '--json' || i >= own.length);
  return command.run(rest, own.includes('--json') ? withJson(io) : io);
}

/** The streams stay behind getters: opening one makes the shared pipe non-blocking for the contained command too. */
function withJson(io: CliIo): CliIo {
  return {
    get stdout() {
      return io.stdout;
    },
    get stderr() {
      return io.stderr;
    },
    get stdin() {
      return io.stdin;
    },
    env: io.env,
    get cwd() {
      return io.cwd;
    },
    json: true,
  };
}

/** What follows `--` is the contained command's own. */
function separatorIndex(args: readonly string[]): number {
  const dashes = args.indexOf('--');
  return dashes === -1 ? args.length : dashes;
}

async function help(verb: string | undefined, io: CliIo): Promise<number> {
  if (verb === undefined) {
    io.stdout.write(helpText());
    return EXIT.ok;
  }
  const text = await helpFor(verb);
  if (text === undefined) throw unknownCommand(verb);
  io.stdout.write(`${text}\n`);
  return EXIT.ok;
}

function unknownCommand(name: string): GloveboxError {
  const names = [...COMMANDS.map((row) => row.name), 'help'];
  const near = nearest(name, names);
  return new GloveboxError('E_USAGE', {
    what: `there is no command "${name}"`,
    next:
      near === undefined ? `To run a program: glovebox run -- ${name}` : `Did you mean \`glovebox ${near}\`?`,
  });
}

/** Prints an error for people, or the same facts for machines with `--json`. */
export function report(error: unknown, io: CliIo): number {
  const known = isGloveboxError(error)
    ? error
    : new GloveboxError('E_INTERNAL', {
        what: error instanceof Error ? error.message : String(error),
        cause: error,
      });
  if (io.json) io.stderr.write(`${JSON.stringify({ error: known })}\n`);
  else io.stderr.write(`glovebox: ${known.message}\n  ${known.next} [${known.code}]\n`);
  if (known.code === 'E_INTERNAL' && error instanceof Error && io.env['GLOVEBOX_DEBUG'] !== undefined) {
    io.stderr.write(`${error.stack ?? ''}\n`);
  }
  return known.exitCode;
}
