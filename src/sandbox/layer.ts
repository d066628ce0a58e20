import { existsSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { canonicalHash } from '../base/canonical-json.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import type { CommandLineLayer } from '../policy/contract.ts';
import type { SandboxOptions } from './options.ts';

/** Relative paths of the options are meant inside the workspace. */
export function baseDirectory(options: SandboxOptions): string {
  return path.resolve(options.workspace ?? '.');
}

/** An object goes through a file named for its content, so that errors and the cache have something to point at. */
function policyFile(policy: string | Readonly<Record<string, unknown>>, cacheDir: string): string {
  if (typeof policy === 'string') return path.resolve(policy);
  const dir = ensurePrivateDir(path.join(cacheDir, 'inline'));
  const file = path.join(dir, `${canonicalHash(policy)}.json`);
  if (!existsSync(file)) {
    const draft = `${file}.${process.pid}`;
    writeFileSync(draft, JSON.stringify(policy, null, 2), { mode: 0o600 });
    renameSync(draft, file);
  }
  return file;
}

/** The options as the layer of policy that the command line is. */
export function layerOf(options: SandboxOptions, cacheDir: string): CommandLineLayer {
  const { profile } = options;
  return {
    ...(profile === undefined ? {} : { profiles: typeof profile === 'string' ? [profile] : profile }),
    ...(options.policy === undefined ? {} : { policyFile: policyFile(options.policy, cacheDir) }),
    ...(options.workspace === undefined ? {} : { workspace: baseDirectory(options) }),
    ...(options.review === true ? { mode: 'review' } : {}),
    ...(options.tier === undefined ? {} : { tier: options.tier }),
    ...(options.driver === undefined ? {} : { driver: options.driver }),
    ...(options.image === undefined ? {} : { base: options.image }),
    ...(options.allow === undefined ? {} : { allow: options.allow }),
    ...(options.read === undefined ? {} : { read: options.read }),
    ...(options.write === undefined ? {} : { write: options.write }),
    ...(options.deny === undefined ? {} : { deny: options.deny }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  };
}
