import { GloveboxError, isGloveboxError } from '../base/errors.ts';
import { gloveboxDirs } from '../base/paths.ts';
import { askOwner } from './attach/client.ts';
import type { SandboxInfo } from './chamber.ts';
import { RunRegistry, type RunEntry } from './registry.ts';

export interface SandboxQuery {
  /** Only those whose labels have all of these. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly name?: string;
  readonly state?: SandboxInfo['state'];
  /** Host environment that says where Glovebox keeps its state; default `process.env`. */
  readonly hostEnv?: NodeJS.ProcessEnv;
}

/** Living sandboxes of this user that match, oldest first. Each is asked of its owner, so what is listed answered just now. */
export async function* listSandboxes(
  query: SandboxQuery,
  env: NodeJS.ProcessEnv,
): AsyncGenerator<SandboxInfo, void> {
  for (const entry of new RunRegistry(gloveboxDirs(env).state).living()) {
    const info = await infoOf(entry);
    if (info !== undefined && info !== 'silent' && matches(info, query)) yield info;
  }
}

/**
 * The living sandbox of a name.
 *
 * @throws E_NAME_TAKEN when its owner lives and does not answer: nobody can tell that it has ended
 */
export async function findSandbox(name: string, env: NodeJS.ProcessEnv): Promise<SandboxInfo | undefined> {
  const named = new RunRegistry(gloveboxDirs(env).state)
    .living()
    .filter(({ served }) => served?.name === name);
  for (const entry of named) {
    const info = await infoOf(entry);
    if (info === 'silent')
      throw new GloveboxError('E_NAME_TAKEN', {
        what: `the owner of the sandbox ${name} (process ${entry.owner.pid}) does not answer`,
        next: 'Let that process go on, or end it; or use another name.',
      });
    if (info?.name === name) return info;
  }
  return undefined;
}

/** Undefined for one that is starting or ending; `silent` where the owner hangs. */
async function infoOf({ served }: RunEntry): Promise<SandboxInfo | 'silent' | undefined> {
  if (served?.socket === undefined) return undefined;
  try {
    return readInfo(await askOwner(served.socket, { ask: 'info' }));
  } catch (error) {
    return isGloveboxError(error) && error.code === 'E_TIMEOUT' ? 'silent' : undefined;
  }
}

export function matches(info: SandboxInfo, { metadata = {}, name, state }: SandboxQuery): boolean {
  if (name !== undefined && info.name !== name) return false;
  if (state !== undefined && info.state !== state) return false;
  return Object.entries(metadata).every(([key, value]) => info.metadata[key] === value);
}

/** What an owner said of its sandbox; undefined when that has another shape. */
export function readInfo(value: unknown): SandboxInfo | undefined {
  const info = isRecord(value) ? value['info'] : undefined;
  return isInfo(info) ? info : undefined;
}

function isInfo(info: unknown): info is SandboxInfo {
  return (
    isRecord(info) &&
    typeof info['sandboxId'] === 'string' &&
    typeof info['tier'] === 'string' &&
    typeof info['driver'] === 'string' &&
    typeof info['workspace'] === 'string' &&
    typeof info['startedAt'] === 'number' &&
    typeof info['ownerPid'] === 'number' &&
    isRecord(info['metadata']) &&
    (info['state'] === 'running' || info['state'] === 'paused')
  );
}

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
