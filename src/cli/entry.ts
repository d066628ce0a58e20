import { GloveboxError } from '../base/errors.ts';
import { main } from './main.ts';

/** The process's own streams and environment; the only place that touches `process` for the command line. */
export async function entry(): Promise<void> {
  const opened = new Set<NodeJS.WriteStream>();
  const use = (stream: NodeJS.WriteStream): NodeJS.WriteStream => {
    opened.add(stream);
    return stream;
  };
  process.exitCode = await main(process.argv.slice(2), {
    get stdout() {
      return use(process.stdout);
    },
    get stderr() {
      return use(process.stderr);
    },
    get stdin() {
      return process.stdin;
    },
    env: process.env,
    get cwd() {
      return currentDirectory();
    },
    json: false,
  });
  // Every command waits for its own work. Leaving at once spares Node from taking its heap apart; what a pipe has not
  // taken yet is waited for.
  if ([...opened].every((stream) => stream.writableLength === 0)) process.exit();
}

function currentDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    throw new GloveboxError('E_WORKSPACE_INVALID', {
      what: 'the current directory does not exist any more',
      cause: error,
    });
  }
}
