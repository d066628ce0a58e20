import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isGloveboxError } from '../../base/errors.ts';
import { environmentDriver } from '../../drivers/choose.ts';
import { engineFacts, findEngine, type EngineFacts, type EngineName } from '../../drivers/docker/index.ts';
import type { NamedDriver } from '../../policy/contract.ts';
import { loadPolicy } from '../../policy/load.ts';
import { policyContext } from '../../sandbox/context.ts';
import type { Finding } from './checks.ts';

const ENGINES: readonly EngineName[] = ['docker', 'podman'];

/** Which container engines could make the container tier here, and how strong each is. One that nobody asked for is no lack. */
export async function checkEngines(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const driver = await wantedDriver(env);
  return Promise.all(ENGINES.map((engine) => checkEngine(engine, env, engine === driver)));
}

/** What the organisation, the user or the environment asks for; a policy that is wrong the trial run tells of. */
async function wantedDriver(env: NodeJS.ProcessEnv): Promise<NamedDriver | undefined> {
  const cwd = mkdtempSync(path.join(tmpdir(), 'glovebox-doctor-'));
  try {
    const { policy } = await loadPolicy(policyContext(env, cwd), {});
    return policy.driver ?? environmentDriver(env);
  } catch (error) {
    if (isGloveboxError(error) && error.code !== 'E_USAGE') return environmentDriver(env);
    throw error;
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

async function checkEngine(engine: EngineName, env: NodeJS.ProcessEnv, wanted: boolean): Promise<Finding> {
  try {
    const facts = await engineFacts(findEngine(engine, env, NOWHERE));
    const weak = !facts.seccomp || !facts.cgroups;
    return { name: engine, state: weak ? 'warn' : 'ok', detail: strengthText(facts) };
  } catch (error) {
    if (!isGloveboxError(error)) throw error;
    const detail = error.why ?? error.what;
    if (!wanted) return { name: engine, state: 'ok', detail: `not used: ${detail}` };
    return { name: engine, state: 'fail', detail, fix: error.next.replace(/^Run: /, '') };
  }
}

function strengthText(facts: EngineFacts): string {
  const walls = [
    facts.seccomp ? 'seccomp' : 'NO seccomp',
    facts.apparmor ? 'AppArmor' : 'no AppArmor',
    facts.cgroups ? 'limits by cgroup' : 'NO limits on memory and processes',
    facts.rootless ? 'runs as this user' : 'runs as root',
    ...(facts.runtimes.includes('runsc') ? ['runtime runsc (a kernel of its own)'] : []),
  ];
  return `${facts.version}: ${walls.join(', ')}`;
}

/** No workspace whose programs would have to be passed over. */
const NOWHERE = '/nonexistent';
