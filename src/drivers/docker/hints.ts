import type { EngineClient } from './client.ts';

/** What to do about something that an engine says. */
interface Hint {
  readonly says: RegExp;
  next(client: EngineClient): string;
}

/** Of Docker's messages since 20.10 and Podman's since 4.3; the first that matches counts. */
const HINTS: readonly Hint[] = [
  {
    says: /permission denied while trying to connect|connect: permission denied/i,
    next: () =>
      'Let this user reach it: sudo usermod -aG docker "$USER", then log in again. Who may reach Docker can become root on this machine; --driver podman runs as you.',
  },
  {
    says: /context .*(?:not found|does not exist)/i,
    next: () => 'Run `docker context ls`, and choose one with `docker context use` or DOCKER_CONTEXT.',
  },
  {
    says: /bind source path does not exist|statfs .*no such file/i,
    next: () =>
      'The engine has to run on this machine and see its files: it binds directories and a socket of it.',
  },
  { says: /newuidmap|newgidmap/, next: () => 'Run: sudo apt-get install uidmap' },
  {
    says: /containers\/policy\.json/,
    next: () => 'Run: sudo apt-get install golang-github-containers-image (elsewhere containers-common).',
  },
  { says: /conmon/, next: () => 'Run: sudo apt-get install conmon' },
  { says: /cannot connect|error during connect|connection refused|parse docker host/i, next: startIt },
];

function startIt({ engine, env }: EngineClient): string {
  const host = engine === 'docker' ? 'DOCKER_HOST' : 'CONTAINER_HOST';
  const named = env[host] ?? '';
  if (named !== '') return `Start the engine that listens at ${host}=${named}, or unset ${host}.`;
  return engine === 'docker'
    ? 'Start it: sudo systemctl start docker'
    : 'Run `podman info`: it has to answer on this machine.';
}

/** The next step for what an engine said; undefined where nothing is known of it. Pure. */
export function hintFor(client: EngineClient, said: string): string | undefined {
  return HINTS.find(({ says }) => says.test(said))?.next(client);
}
