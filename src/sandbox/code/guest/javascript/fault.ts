import { inspect } from 'node:util';

/** An error as data. `errno`, `path` and `code` stand where the system refused something. */
export interface Fault {
  readonly name: string;
  readonly value: string;
  readonly traceback: string;
  readonly errno?: number;
  readonly code?: string;
  readonly path?: string;
}

/** What was thrown, whatever it is. Frames of this kernel are left out of the stack. */
export function faultOf(thrown: unknown): Fault {
  if (!(thrown instanceof Error)) {
    const value = cut(typeof thrown === 'string' ? thrown : safely(() => inspect(thrown)));
    return { name: 'Uncaught', value, traceback: `Uncaught ${value}` };
  }
  const name = safely(() => thrown.name);
  const value = safely(() => thrown.message);
  const traceback = ownFrames(thrown.stack, `${name}: ${value}`) + causes(thrown);
  return { name, value: cut(value), traceback: cut(traceback), ...systemOf(thrown) };
}

const MOST_CAUSES = 8;
const MOST_CHARACTERS = 1 << 20;

const cut = (text: string): string =>
  text.length <= MOST_CHARACTERS ? text : `${text.slice(0, MOST_CHARACTERS)}…`;

function causes(thrown: Error): string {
  let text = '';
  let cause: unknown = thrown.cause;
  for (let i = 0; cause !== undefined && i < MOST_CAUSES; i++) {
    const error = cause instanceof Error ? cause : undefined;
    text += `\n[cause]: ${error === undefined ? safely(() => inspect(cause)) : ownFrames(error.stack, error.message)}`;
    cause = error?.cause;
  }
  return text;
}

function ownFrames(stack: unknown, fallback: string): string {
  if (typeof stack !== 'string') return fallback;
  const lines = stack.split('\n');
  const kernel = lines.findIndex((line) => /\(node:inspector:|glovebox-kernel/.test(line));
  return (kernel < 0 ? lines : lines.slice(0, kernel)).join('\n');
}

/** Node's system errors have a negative errno. */
function systemOf(error: Error): Pick<Fault, 'errno' | 'code' | 'path'> {
  const { errno, code, path } = error as NodeJS.ErrnoException;
  return {
    ...(typeof errno === 'number' ? { errno: Math.abs(errno) } : {}),
    ...(typeof code === 'string' ? { code } : {}),
    ...(typeof path === 'string' ? { path } : {}),
  };
}

/** Getters of a hostile or odd error may throw themselves. */
function safely(read: () => unknown): string {
  try {
    return String(read());
  } catch {
    return '';
  }
}
