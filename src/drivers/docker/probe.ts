import { GloveboxError } from '../../base/errors.ts';
import { findProgram, type HostProgram } from '../find-program.ts';
import type { EngineName } from './args.ts';
import { ask, clientEnvironment, lastLine, type EngineClient } from './client.ts';
import { hintFor } from './hints.ts';

const PROGRAMS: Readonly<Record<EngineName, HostProgram>> = {
  docker: {
    name: 'docker',
    title: 'Docker',
    variable: 'GLOVEBOX_DOCKER',
    usualPlaces: ['/usr/bin/docker', '/usr/local/bin/docker'],
  },
  podman: {
    name: 'podman',
    title: 'Podman',
    variable: 'GLOVEBOX_PODMAN',
    usualPlaces: ['/usr/bin/podman', '/usr/local/bin/podman'],
  },
};

const INSTALL: Readonly<Record<EngineName, string>> = {
  docker: 'sudo apt-get install docker.io',
  podman: 'sudo apt-get install podman',
};

/** What an engine is and has. */
export interface EngineFacts {
  readonly version: string;
  /** It runs as the caller; its uid 0 is he. */
  readonly rootless: boolean;
  /** It maps users of every container unless it is told not to. */
  readonly remapped: boolean;
  readonly seccomp: boolean;
  readonly apparmor: boolean;
  readonly cgroups: boolean;
  /** OCI runtimes that it may be asked for; empty where it takes any. */
  readonly runtimes: readonly string[];
}

/**
 * The client of an engine.
 *
 * @throws E_TIER_UNAVAILABLE
 */
export function findEngine(engine: EngineName, env: NodeJS.ProcessEnv, workspace: string): EngineClient {
  const program = PROGRAMS[engine];
  const found = findProgram(program, env, workspace);
  if ('why' in found) {
    const named = (env[program.variable] ?? '') !== '';
    const next = named ? `Name the client, or unset ${program.variable}.` : `Run: ${INSTALL[engine]}`;
    throw unavailable(engine, found.why, next);
  }
  return { engine, program: found.path, env: clientEnvironment(env) };
}

export function unavailable(engine: EngineName, why: string, next?: string): GloveboxError {
  return new GloveboxError('E_TIER_UNAVAILABLE', {
    what: `the container tier cannot start with ${engine}`,
    why,
    ...(next === undefined ? {} : { next }),
  });
}

/**
 * What the engine says of itself.
 *
 * @throws E_TIER_UNAVAILABLE when it does not answer
 */
export async function engineFacts(client: EngineClient): Promise<EngineFacts> {
  const answer = await ask(client, ['info', '--format', '{{json .}}']);
  const info = parse(answer.out);
  const facts = answer.code === 0 ? READERS[client.engine](info) : undefined;
  if (facts !== undefined) return facts;
  const why = lastLine(answer.err) || serverError(info) || 'it gave no answer';
  const next = hintFor(client, why) ?? `Run \`${client.program} info\`: it has to answer without an error.`;
  throw unavailable(client.engine, why, next);
}

/** Docker's client before version 25 says in its answer that it has no engine, and not beside it. */
function serverError(info: unknown): string {
  const errors = at(info, 'ServerErrors');
  return Array.isArray(errors) ? String(errors[0] ?? '') : '';
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Readers of `info`; undefined when it is not that of a running engine. */
export const READERS: Readonly<Record<EngineName, (info: unknown) => EngineFacts | undefined>> = {
  docker: dockerFacts,
  podman: podmanFacts,
};

/** `docker info`: a client without an engine answers too, with `ServerErrors`. Source: moby, api/types/system. */
function dockerFacts(info: unknown): EngineFacts | undefined {
  const version = at(info, 'ServerVersion');
  if (typeof version !== 'string' || version === '') return undefined;
  const options = at(info, 'SecurityOptions');
  const security = Array.isArray(options) ? options.map(String) : [];
  const has = (name: string): boolean => security.some((one) => one.split(',').includes(`name=${name}`));
  const runtimes = at(info, 'Runtimes');
  return {
    version,
    rootless: has('rootless'),
    remapped: has('userns'),
    seccomp: has('seccomp'),
    apparmor: has('apparmor'),
    cgroups: at(info, 'MemoryLimit') === true && at(info, 'PidsLimit') !== false,
    runtimes: typeof runtimes === 'object' && runtimes !== null ? Object.keys(runtimes) : [],
  };
}

/** `podman info`. Source: containers/podman, libpod/define/info.go. */
function podmanFacts(info: unknown): EngineFacts | undefined {
  const version = at(at(info, 'version'), 'Version');
  const host = at(info, 'host');
  if (typeof version !== 'string') return undefined;
  const security = at(host, 'security');
  const controllers = at(host, 'cgroupControllers');
  const rootless = at(security, 'rootless') === true;
  const listed = Array.isArray(controllers) ? controllers.map(String) : [];
  return {
    version,
    rootless,
    remapped: false,
    seccomp: at(security, 'seccompEnabled') === true,
    apparmor: at(security, 'apparmorEnabled') === true,
    // Version 1 names its controllers nowhere, and only root may use them.
    cgroups:
      at(host, 'cgroupVersion') === 'v1'
        ? !rootless
        : ['memory', 'pids'].every((one) => listed.includes(one)),
    runtimes: [],
  };
}

function at(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  const found: unknown = Reflect.get(value, key);
  return found;
}
