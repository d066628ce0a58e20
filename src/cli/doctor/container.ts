import { locateAgent } from '../../agent/locate.ts';
import { isGloveboxError } from '../../base/errors.ts';
import { gloveboxDirs } from '../../base/paths.ts';
import { findBubblewrap } from '../../drivers/bubblewrap/probe.ts';
import { choosePlatform, findRunsc, runscVersion } from '../../drivers/gvisor/index.ts';
import type { Finding } from './checks.ts';

/** Whether the container tier starts here, proven by a guest that boots. Without it the process tier still works. */
export async function checkContainer(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  try {
    const runsc = findRunsc(env, NOWHERE);
    const version = runscVersion(runsc);
    const platform = await choosePlatform({
      runsc,
      env,
      agent: locateAgent(env),
      bubblewrap: findBubblewrap(env, NOWHERE),
      cacheDir: gloveboxDirs(env).cache,
    });
    return [
      { name: 'container tier', state: 'ok', detail: `gVisor ${version} at ${runsc}, platform ${platform}` },
    ];
  } catch (error) {
    if (!isGloveboxError(error)) throw error;
    return [
      {
        name: 'container tier',
        state: 'warn',
        detail: error.why ?? error.what,
        fix: error.next.replace(/^Run: /, ''),
      },
    ];
  }
}

/** No workspace whose programs would have to be passed over. */
const NOWHERE = '/nonexistent';
