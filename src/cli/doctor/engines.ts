import { isGloveboxError } from '../../base/errors.ts';
import { containerDriver } from '../../drivers/choose.ts';
import { engineFacts, findEngine, type EngineFacts, type EngineName } from '../../drivers/docker/index.ts';
import type { Finding } from './checks.ts';

const ENGINES: readonly EngineName[] = ['docker', 'podman'];

/** Which container engines could make the container tier here, and how strong each is. One that nobody asked for is no lack. */
export function checkEngines(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  const driver = containerDriver(env);
  return Promise.all(ENGINES.map((engine) => checkEngine(engine, env, engine === driver)));
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
