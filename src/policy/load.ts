import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packageVersion } from '../base/version.ts';
import { cacheKey, readCache, writeCache } from './cache.ts';
import type { CommandLineLayer, PolicyContext, ResolvedPolicy } from './contract.ts';

/**
 * The policy for a run: from the cache when nothing changed, else compiled. The compiler with its parsers is loaded only then;
 * this file and what it imports stay free of them.
 *
 * @throws E_POLICY_INVALID, E_POLICY_CEILING, E_POLICY_NOT_FOUND, E_PROFILE_UNKNOWN, E_WORKSPACE_INVALID, E_IO
 */
export async function loadPolicy(
  context: PolicyContext,
  commandLine: CommandLineLayer,
): Promise<ResolvedPolicy> {
  const key = cacheKey(context, commandLine, buildIdentity());
  const stored = readCache(context, key);
  if (stored !== undefined) return stored;
  const { resolveInFull } = await import('./resolve.ts');
  const { resolved, workspace, inputs } = resolveInFull(context, commandLine, 'trusted');
  writeCache(context, key, { resolved, workspace, inputs });
  return resolved;
}

/** Another version, or another build of the same, may read the same files differently. */
function buildIdentity(): string {
  const stat = statSync(fileURLToPath(import.meta.url));
  return `${packageVersion()} ${stat.size} ${stat.mtimeMs}`;
}
