import type { ResolvedPolicy } from '../policy/contract.ts';
import { loadPolicy } from '../policy/load.ts';
import { policyContext } from '../sandbox/context.ts';
import type { CliIo } from './contract.ts';
import type { ParsedRun } from './options.ts';

/** The resolved policy of a `run`, `shell` or `explain` command line. */
export function loadRunPolicy(parsed: ParsedRun, io: CliIo): Promise<ResolvedPolicy> {
  return loadPolicy(policyContext(io.env, io.cwd), parsed.layer);
}
