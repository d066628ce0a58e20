import { once } from 'node:events';
import type { HandlerContext } from './handlers.ts';
import type { MemoryProcess, Play } from './process.ts';
import type { Played } from './program.ts';

/** Plays a command with its handler. */
export function playHandler({ handler, argv, line }: Played): Play {
  return {
    run: async (process) => {
      const { stdout, stderr } = process.own;
      try {
        const result = (await handler(argv, contextOf(process, line))) ?? {};
        await written(stdout, result.stdout);
        await written(stderr, result.stderr);
        return result.exitCode ?? 0;
      } catch (error) {
        await written(stderr, `${error instanceof Error ? error.message : String(error)}\n`);
        return 1;
      }
    },
  };
}

function contextOf(process: MemoryProcess, line: string | undefined): HandlerContext {
  const { spec, surroundings, stdin, own, aborted } = process;
  return {
    ...(line === undefined ? {} : { line }),
    cwd: spec.cwd,
    env: spec.env,
    stdin,
    stdout: own.stdout,
    stderr: spec.terminal === undefined ? own.stderr : own.stdout,
    files: surroundings.files,
    signal: aborted.signal,
    ...(spec.terminal === undefined ? {} : { terminal: spec.terminal }),
    onResize: (follow) => process.follow(follow),
    listen: (port, accept) => process.undo(surroundings.listen(port, accept)),
  };
}

async function written(to: NodeJS.WritableStream, data: string | Uint8Array | undefined): Promise<void> {
  if (data === undefined || data.length === 0 || !to.writable) return;
  if (!to.write(data)) await Promise.race([once(to, 'drain'), once(to, 'close')]);
}
