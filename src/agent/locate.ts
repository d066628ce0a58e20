import { existsSync } from 'node:fs';
import path from 'node:path';
import { GloveboxError } from '../base/errors.ts';
import { packageRoot } from '../base/version.ts';

/** Path of the built agent: `$GLOVEBOX_AGENT`, else `agent/build/glovebox-agent` in the package. Throws `E_SANDBOX_START`. */
export function locateAgent(env: NodeJS.ProcessEnv = process.env): string {
  const named = env['GLOVEBOX_AGENT'];
  if (named !== undefined && named !== '') return existing(path.resolve(named));
  return existing(path.join(packageRoot(), 'agent/build/glovebox-agent'));
}

function existing(file: string): string {
  if (existsSync(file)) return file;
  throw new GloveboxError('E_SANDBOX_START', {
    what: `the agent is not built: ${file} does not exist`,
    next: 'Run `agent/build.sh` (needs a C compiler: apt-get install gcc libc6-dev).',
  });
}
