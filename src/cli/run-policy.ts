import { gloveboxDirs, homeDirectory } from '../base/paths.ts';
import type { PolicyContext, ResolvedPolicy } from '../policy/contract.ts';
import { loadPolicy } from '../policy/load.ts';
import type { CliIo } from './contract.ts';
import type { ParsedRun } from './options.ts';

/** Where the organisation's ceiling stands. */
export const ORGANISATION_FILE = '/etc/glovebox/policy.yaml';

/** The policy context of a command line. */
export function policyContext(io: CliIo): PolicyContext {
  const dirs = gloveboxDirs(io.env);
  return {
    cwd: io.cwd,
    env: io.env,
    home: homeDirectory(io.env),
    configDir: dirs.config,
    stateDir: dirs.state,
    cacheDir: dirs.cache,
    organisationFile: ORGANISATION_FILE,
  };
}

/** The resolved policy of a `run`, `shell` or `explain` command line. */
export function loadRunPolicy(parsed: ParsedRun, io: CliIo): Promise<ResolvedPolicy> {
  return loadPolicy(policyContext(io), parsed.layer);
}
