import { readFileSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError, systemCode } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { nearest } from '../../base/nearest.ts';
import { parseDuration } from '../../policy/units.ts';
import { runCodeOnce, type CodeReport } from '../../sandbox/code/one-shot.ts';
import type { CodeLanguage } from '../../sandbox/code/contract.ts';
import type { CliCommand, CliIo } from '../contract.ts';
import { optionHelp, parseRun, type ParsedRun } from '../options.ts';
import { sandboxOptions } from '../sandbox-options.ts';

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

export const codeCommand: CliCommand = {
  name: 'code',
  summary: 'run a piece of code in a fresh sandbox and say exactly how it ended',
  usage: [
    'Usage: glovebox code run [options] FILE|-',
    '',
    'Runs the code of FILE, or of standard input, in a sandbox made for it and destroyed afterwards. Its workspace is an empty directory',
    'that goes with it, unless --workspace names one; there is no network unless --allow names a host.',
    '',
    `      --language NAME   ${LANGUAGES.join(', ')} (default: by the file's extension)`,
    '      --json            one JSON object: {status, stdout, stderr, results, denials, limits, durationMs}',
    optionHelp(),
    '',
    'status is ok, error, timeout, memory-limit, process-limit, limit, network-denied, file-denied or crashed.',
    'Exit code: that of the code; 1 for an error or a denial, 124 after a timeout, 137 after a limit.',
    '',
    'Examples:',
    '  echo "print(6 * 7)" | glovebox code run --language python -',
    '  glovebox code run --json --timeout 5s --memory 256MiB untrusted.py',
  ].join('\n'),
  run: async ([verb, ...args], io) => {
    if (verb !== 'run') throw usage(verb === undefined ? 'code needs a verb' : `there is no "code ${verb}"`);
    const { language, rest } = takeLanguage(args);
    const parsed = parseRun(rest);
    const [file, extra] = parsed.command;
    if (file === undefined) throw usage('no code to run');
    if (extra !== undefined) throw usage(`one file at a time: ${extra} is too many`);
    return runFile(file, { language: languageOf(language, file), parsed, io });
  },
};

interface FileRun {
  readonly language: CodeLanguage;
  readonly parsed: ParsedRun;
  readonly io: CliIo;
}

async function runFile(file: string, { language, parsed, io }: FileRun): Promise<number> {
  const timeout = parsed.layer.limits?.['timeout'];
  const report = await runCodeOnce({
    code: readCode(file, io),
    language,
    sandbox: sandboxOptions(parsed, io),
    ...timeoutOf(timeout),
    ...(io.json
      ? {}
      : { onStdout: (text) => io.stdout.write(text), onStderr: (text) => io.stderr.write(text) }),
  });
  if (io.json) io.stdout.write(`${JSON.stringify(report)}\n`);
  else tell(report, io);
  return exitCode(report);
}

/** What a person wants to see behind the output: the value, the error, and what stopped it. */
function tell(report: CodeReport, io: CliIo): void {
  const { error, results, status, denials } = report;
  for (const { text } of results) if (text !== undefined) io.stdout.write(`${text}\n`);
  if (error !== undefined) io.stderr.write(`${error.traceback.trimEnd()}\n`);
  if (status !== 'ok' && status !== 'error') io.stderr.write(`glovebox: ${status}${because(report)}\n`);
  if (status === 'ok' && denials.length > 0) io.stderr.write(`glovebox: refused${because(report)}\n`);
}

function because({ denials, limits }: CodeReport): string {
  const refused = denials.map((one) => (one.kind === 'file' ? one.path : `${one.host}:${one.port}`));
  const words = [...new Set([...limits.hit, ...refused])];
  return words.length === 0 ? '' : `: ${words.join(', ')}`;
}

function exitCode({ status, exitCode: own, error }: CodeReport): number {
  if (status === 'ok') return EXIT.ok;
  if (status === 'timeout') return EXIT.timedOut;
  if (status === 'memory-limit' || status === 'process-limit' || status === 'limit') return EXIT.limit;
  return error === undefined && own !== undefined && own !== 0 ? own : 1;
}

/** `--language` is this verb's own; everything else is an option of `run`. */
function takeLanguage(args: readonly string[]): {
  readonly language?: string;
  readonly rest: readonly string[];
} {
  const at = args.findIndex((arg) => arg === '--language' || arg.startsWith('--language='));
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

function readCode(file: string, io: CliIo): string {
  try {
    return readFileSync(file === '-' ? 0 : path.resolve(io.cwd, file), 'utf8');
  } catch (error) {
    throw new GloveboxError('E_USAGE', {
      what: `cannot read ${file}`,
      why: systemCode(error) ?? String(error),
      next: 'Name a readable file, or - for standard input.',
    });
  }
}

function usage(what: string, next = 'Use: glovebox code run [options] FILE|-'): GloveboxError {
  return new GloveboxError('E_USAGE', { what, next });
}

/** A malformed one is left to the policy, which says where and how. */
function timeoutOf(text: string | undefined): { readonly timeoutMs?: number } {
  const timeoutMs = text === undefined ? undefined : parseDuration(text);
  return timeoutMs === undefined ? {} : { timeoutMs };
}
