import { GloveboxError } from '../base/errors.ts';
import { main } from './main.ts';

/** The process's own streams and environment; the only place that touches `process` for the command line. */
export async function entry(): Promise<void> {
  process.exitCode = await main(process.argv.slice(2), {
    get stdout() {
      return process.stdout;
    },
    get stderr() {
      return process.stderr;
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
