import path from 'node:path';
import type { SandboxOptions } from '../sandbox/options.ts';
import type { CliIo } from './contract.ts';
import type { ParsedRun } from './options.ts';

/** The options of a command line as the SDK takes them; paths are meant from where the command was typed. */
export function sandboxOptions({ layer, publish }: ParsedRun, io: CliIo): SandboxOptions {
  const from = (at: string): string => (at.startsWith('~') ? at : path.resolve(io.cwd, at));
  const { profiles, policyFile, workspace, tier, driver, base, allow, read, write, deny, env, limits } =
    layer;
  return {
    hostEnv: io.env,
    ...(profiles === undefined ? {} : { profile: profiles }),
    ...(policyFile === undefined ? {} : { policy: path.resolve(io.cwd, policyFile) }),
    ...(workspace === undefined ? { temporary: true } : { workspace: path.resolve(io.cwd, workspace) }),
    ...(tier === undefined ? {} : { tier }),
    ...(driver === undefined ? {} : { driver }),
    ...(base === undefined ? {} : { image: base }),
    ...(allow === undefined ? {} : { allow }),
    ...(read === undefined ? {} : { read: read.map(from) }),
    ...(write === undefined ? {} : { write: write.map(from) }),
    ...(deny === undefined ? {} : { deny }),
    ...(env === undefined ? {} : { envs: environment(env, io.env) }),
    ...(limits === undefined ? {} : { limits }),
    publish,
  };
}

/** `NAME` passes the caller's own value, `NAME=VALUE` sets one. */
function environment(words: readonly string[], own: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const pairs = words.flatMap((word): [string, string][] => {
    const equals = word.indexOf('=');
    if (equals >= 0) return [[word.slice(0, equals), word.slice(equals + 1)]];
    const value = own[word];
    return value === undefined ? [] : [[word, value]];
  });
  return Object.fromEntries(pairs);
}
