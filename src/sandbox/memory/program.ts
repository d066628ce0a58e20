import { posix } from 'node:path';
import type { Handlers, CommandHandler } from './handlers.ts';

/** What plays a command, and with which words. */
export interface Played {
  readonly handler: CommandHandler;
  readonly argv: readonly string[];
  readonly line?: string;
}

/** A line that is nothing but words: what a shell would do with anything else is not played. */
const PLAIN = /^[\w ./:,=@%+-]+$/;

/** Finds what plays a command; undefined when there is no such program. */
export function findHandler(argv: readonly string[], handlers: Handlers): Played | undefined {
  const [program = '', flag, line] = argv;
  const own = handlerOf(program, handlers);
  if (own !== undefined) return { handler: own, argv };
  if (!/^(.*\/)?(ba|da)?sh$/.test(program) || flag !== '-c' || line === undefined)
    return handlers.otherwise === undefined ? undefined : { handler: handlers.otherwise, argv };
  const words = PLAIN.test(line) ? line.split(' ').filter((word) => word !== '') : [];
  const handler = handlerOf(words[0] ?? '', handlers) ?? handlers.otherwise ?? notFound(line);
  return { handler, argv: words.length === 0 ? argv : words, line };
}

function handlerOf(program: string, { commands = {} }: Handlers): CommandHandler | undefined {
  const name = posix.basename(program);
  return Object.hasOwn(commands, name) ? commands[name] : undefined;
}

/** As bash says it. */
const notFound =
  (line: string): CommandHandler =>
  () => ({ stderr: `bash: line 1: ${line.split(' ', 1)[0] ?? ''}: command not found\n`, exitCode: 127 });
