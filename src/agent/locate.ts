import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { GloveboxError } from '../base/errors.ts';

/** Path of the built agent: `$GLOVEBOX_AGENT`, else `agent/build/glovebox-agent` in the package. Throws `E_SANDBOX_START`. */
export function locateAgent(env: NodeJS.ProcessEnv = process.env): string {
  const named = env['GLOVEBOX_AGENT'];
  if (named !== undefined && named !== '') return existing(path.resolve(named));
  return existing(path.join(packageRoot(), 'agent/build/glovebox-agent'));
}

/** The nearest directory above this module with a package.json; the bundle and the source lie at different depths. */
function packageRoot(): string {
  const here = path.dirname(fileURLToPath(import.meta.url));
  for (let directory = here; ; directory = path.dirname(directory)) {
    if (existsSync(path.join(directory, 'package.json'))) return directory;
    if (path.dirname(directory) === directory) return here;
  }
}

function existing(file: string): string {
  if (existsSync(file)) return file;
  throw new GloveboxError('E_SANDBOX_START', {
    what: `the agent is not built: ${file} does not exist`,
    next: 'Run `agent/build.sh` (needs a C compiler: apt-get install gcc libc6-dev).',
  });
}
