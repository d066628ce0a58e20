import { spawnSync } from 'node:child_process';
import { it } from 'vitest';
import { AttackBox } from './attack.ts';
import type { TestDocker } from './docker-daemon.ts';

/** A box whose runs are made by a Docker engine of the tests. */
export class DockerBox extends AttackBox {
  readonly host: string;

  constructor(docker: TestDocker) {
    super('docker');
    if ('missing' in docker) throw new Error(docker.missing);
    this.host = docker.host;
  }

  override env(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
    return super.env({ GLOVEBOX_DRIVER: 'docker', DOCKER_HOST: this.host, ...extra });
  }

  /** What was recorded of one kind, oldest first. */
  recorded(kind: string): readonly Readonly<Record<string, unknown>>[] {
    return this.records()
      .filter((record) => record.kind === kind)
      .map(({ data }) => data);
  }

  /** What `docker` answers, asked from outside. */
  docker(...args: readonly string[]): string {
    const asked = spawnSync('docker', args, {
      encoding: 'utf8',
      env: { ...process.env, DOCKER_HOST: this.host },
    });
    return asked.stdout.trim();
  }

  /** What `docker` says when it refuses. */
  complaint(...args: readonly string[]): string {
    const env = { ...process.env, DOCKER_HOST: this.host };
    const { status, stderr } = spawnSync('docker', args, { encoding: 'utf8', env });
    return status === 0 ? '' : stderr;
  }

  /** Names of all containers that the engine has. */
  containers(): readonly string[] {
    const names = this.docker('ps', '--all', '--format', '{{.Names}}');
    return names === '' ? [] : names.split('\n');
  }
}

/** A test with the engine, skipped with what is missing for it. */
export function withDocker(
  docker: TestDocker,
  name: string,
  test: (box: DockerBox) => Promise<void>,
  needs: readonly (string | undefined)[] = [],
): void {
  const missing = [...('missing' in docker ? [docker.missing] : []), ...needs].find(
    (need) => need !== undefined,
  );
  if (missing !== undefined) {
    it.skip(`${name} (skipped: ${missing})`, () => undefined);
    return;
  }
  it(name, async () => {
    using box = new DockerBox(docker);
    await test(box);
  });
}
