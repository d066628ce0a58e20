import { realpathSync } from 'node:fs';
import path from 'node:path';
import { isExecutable } from '../drivers/find-program.ts';

/** For a program that is on the caller's PATH but not visible inside: where it is, and the option that shows it. */
export function hiddenProgramHint(program: string, env: NodeJS.ProcessEnv): string | undefined {
  if (program === '' || program.includes('/')) return undefined;
  for (const dir of (env['PATH'] ?? '').split(':')) {
    const file = path.join(dir, program);
    if (!path.isAbsolute(dir) || !isExecutable(file)) continue;
    const real = realpathSync(file);
    return `Your machine has it as ${real}; make it visible with --read ${programTree(real)}`;
  }
  return undefined;
}

/** `…/bin/tool` needs what lies beside `bin` too. */
function programTree(real: string): string {
  const dir = path.dirname(real);
  return path.basename(dir) === 'bin' ? path.dirname(dir) : dir;
}
