import { gloveboxDirs, homeDirectory } from '../base/paths.ts';
import type { PolicyContext } from '../policy/contract.ts';

/** Where the organisation's ceiling stands. */
export const ORGANISATION_FILE = '/etc/glovebox/policy.yaml';

/** Where policies are looked for, for an environment and a current directory. */
export function policyContext(env: NodeJS.ProcessEnv, cwd: string): PolicyContext {
  const dirs = gloveboxDirs(env);
  return {
    cwd,
    env,
    home: homeDirectory(env),
    configDir: dirs.config,
    stateDir: dirs.state,
    cacheDir: dirs.cache,
    organisationFile: ORGANISATION_FILE,
  };
}
