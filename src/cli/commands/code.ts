import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { nearest } from '../../base/nearest.ts';
import { runCodeOnce, type CodeReport } from '../../sandbox/code/one-shot.ts';
import type { CodeLanguage } from '../../sandbox/code/contract.ts';
import { readCode } from '../code-input.ts';
import type { CliCommand, CliIo } from '../contract.ts';
import { optionHelp, parseRun, type ParsedRun } from '../options.ts';
import { sandboxOptions } from '../sandbox-options.ts';
import { signalled, Stop } from '../stop.ts';

const LANGUAGES: readonly CodeLanguage[] = ['python', 'javascript', 'typescript', 'bash'];

const EXTENSIONS: Readonly<Record<string, CodeLanguage>> = {
  '.py': 'python',
  '.js': 'javascript',
  '.mjs': 'javascript',
  '.cjs': 'javascript',
  '.ts': 'typescript',
  '.mts': 'typescript',
  '.sh': 'bash',
  '.bash': 'bash',
};

const VERBS = ['run'] as const;

export const codeCommand: CliCommand = {
  name: 'code',
  summary: 'run a piece of code in a fresh sandbox and say exactly how it ended',
  usage: [
    'Usage: glovebox code run [options] FILE|-',
    '',
    'Runs the code of FILE, or of standard input, in a sandbox made for it and destroyed afterwards. Its workspace is an empty directory',
    'that goes with it, unless --workspace names one; there is no network unless --allow names a host. Unless a policy or an option says',
    'otherwise it gets 1 CPU, 768 MiB, 64 processes, 16 MiB of output and 60 seconds (the profile `code`).',
    '',
    `      --language NAME   ${LANGUAGES.join(', ')} (default: by the file's extension)`,
    '      --json            one JSON object: {status, stdout, stderr, results, denials, limits, durationMs}',
    optionHelp(),
    '',
    'status is ok, error, timeout, memory-limit, process-limit, limit, network-denied, file-denied or crashed.',
    'Exit code: that of the code; 1 for an error or a denial, 124 after a timeout, 137 after a limit, 125 when Glovebox could not run it.',
    '',
    'Examples:',
    '  echo "print(6 * 7)" | glovebox code run --language python -',
    '  glovebox code run --json --timeout 5s --memory 256MiB untrusted.py',
  ].join('\n'),
  run: async ([verb, ...args], io) => {
    if (verb !== 'run') throw wrongVerb(verb);
    const { language, rest } = takeLanguage(args);
    const parsed = parseRun(rest);
    const [file, extra] = parsed.command;
    if (file === undefined) throw usage('no code to run');
    if (extra !== undefined) throw tooMany(file, extra);
    return runFile(file, { language: languageOf(language, file), parsed, io });
  },
};

interface FileRun {
  readonly language: CodeLanguage;
  readonly parsed: ParsedRun;
  readonly io: CliIo;
}

async function runFile(file: string, { language, parsed, io }: FileRun): Promise<number> {
  const code = await readCode(file, io);
  const stop = new Stop(io);
  try {
    const report = await runCodeOnce({
      code,
      language,
      ...(parsed.cwd === undefined ? {} : { cwd: parsed.cwd }),
      sandbox: { ...sandboxOptions(parsed, io), signal: stop.signal },
      ...(io.json ? {} : { onStdout: shown(io.stdout, stop), onStderr: shown(io.stderr, stop) }),
    });
    // Stopped while it ran: nobody is there to be told how far it came.
    if (stop.received !== undefined) return signalled(stop.received);
    if (io.json) io.stdout.write(`${JSON.stringify(report)}\n`);
    else tell(report, { io, quiet: parsed.quiet });
    return exitCode(report);
  } catch (error) {
    // The sandbox is gone by now.
    if (stop.received === undefined) throw error;
    return signalled(stop.received);
  } finally {
    stop.dispose();
  }
}

/** Nothing after the stop: a shell that is interrupted ends its line. */
const shown =
  (to: NodeJS.WritableStream, stop: Stop) =>
  (text: string): void => {
    if (stop.received === undefined) to.write(text);
  };

/** What a person wants to see behind the output: the value, the error, and what stopped it. */
function tell(report: CodeReport, { io, quiet }: { readonly io: CliIo; readonly quiet: boolean }): void {
  const { error, results, status, denials } = report;
  for (const { text } of results) if (text !== undefined) io.stdout.write(`${text}\n`);
  if (error !== undefined) io.stderr.write(`${error.traceback.trimEnd()}\n`);
  if (status !== 'ok' && status !== 'error') io.stderr.write(`glovebox: ${status}${because(report)}\n`);
  if (status === 'ok' && denials.length > 0 && !quiet)
    io.stderr.write(`glovebox: refused${because(report)}\n`);
}

function because({ denials, limits }: CodeReport): string {
  const refused = denials.map((one) => {
    if (one.kind === 'file') return one.path;
    return one.port === undefined ? one.host : `${one.host}:${one.port}`;
  });
  const words = [...new Set([...limits.hit, ...refused])];
  return words.length === 0 ? '' : `: ${words.join(', ')}`;
}

function exitCode({ status, exitCode: own, error }: CodeReport): number {
  if (status === 'ok') return EXIT.ok;
  if (status === 'timeout') return EXIT.timedOut;
  if (status === 'memory-limit' || status === 'process-limit' || status === 'limit') return EXIT.limit;
  const isOwn = own !== undefined && own !== 0 && (error === undefined || status === 'crashed');
  return isOwn ? own : 1;
}

function wrongVerb(verb: string | undefined): GloveboxError {
  if (verb === undefined) return usage('code needs a verb');
  const near = nearest(verb, VERBS);
  return usage(`there is no "code ${verb}"`, near === undefined ? undefined : `Did you mean code ${near}?`);
}

/** An option behind the file is the commonest reason. */
function tooMany(file: string, extra: string): GloveboxError {
  return extra.startsWith('-')
    ? usage(`${extra} stands behind ${file}`, `Put options first: glovebox code run ${extra} … ${file}`)
    : usage(`one file at a time: ${extra} is too many`);
}

/** `--language` is this verb's own; everything else is an option of `run`. */
function takeLanguage(args: readonly string[]): {
  readonly language?: string;
  readonly rest: readonly string[];
} {
  const end = args.includes('--') ? args.indexOf('--') : args.length;
  const isOption = (arg: string): boolean => arg === '--language' || arg.startsWith('--language=');
  const at = args.slice(0, end).findIndex(isOption);
  if (at < 0) return { rest: args };
  const word = args[at] ?? '';
  const inline = word.includes('=') ? word.slice(word.indexOf('=') + 1) : undefined;
  const language = inline ?? args[at + 1];
  if (language === undefined) throw usage('--language needs a value');
  return { language, rest: [...args.slice(0, at), ...args.slice(at + (inline === undefined ? 2 : 1))] };
}

function languageOf(named: string | undefined, file: string): CodeLanguage {
  if (named === undefined) {
    const known = EXTENSIONS[path.extname(file).toLowerCase()];
    if (known !== undefined) return known;
    throw usage(`cannot tell the language of ${file}`, `Use --language ${LANGUAGES.join('|')}.`);
  }
  const language = LANGUAGES.find((name) => name === named);
  if (language !== undefined) return language;
  const near = nearest(named, LANGUAGES);
  throw usage(
    `there is no language "${named}"`,
    near === undefined ? `Use one of ${LANGUAGES.join(', ')}.` : `Did you mean ${near}?`,
  );
}

function usage(what: string, next = 'Use: glovebox code run [options] FILE|-'): GloveboxError {
  return new GloveboxError('E_USAGE', { what, next });
}
