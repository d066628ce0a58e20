import { expect, test } from 'vitest';
import type { EngineClient } from './client.ts';
import { hintFor } from './hints.ts';

const docker = (env: EngineClient['env'] = {}): EngineClient => ({
  engine: 'docker',
  program: '/usr/bin/docker',
  env,
});
const podman: EngineClient = { engine: 'podman', program: '/usr/bin/podman', env: {} };

test.each([
  [
    'permission denied while trying to connect to the Docker daemon socket at unix:///x',
    'usermod -aG docker',
  ],
  ['dial unix /var/run/docker.sock: connect: permission denied', 'usermod -aG docker'],
  ['Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?', 'systemctl start'],
  ['unable to resolve docker endpoint: context "a" does not exist', 'docker context ls'],
  ['context "a": context not found: open /x/meta.json: no such file or directory', 'docker context ls'],
  ['Error response from daemon: invalid mount config: bind source path does not exist: /x', 'this machine'],
])('docker: %s', (said, next) => expect(hintFor(docker(), said)).toContain(next));

test('an engine that a variable names is the one to start', () => {
  const said = 'error during connect: Get "http://foo:2375/v1.24/info": dial tcp: lookup foo';
  expect(hintFor(docker({ DOCKER_HOST: 'foo' }), said)).toBe(
    'Start the engine that listens at DOCKER_HOST=foo, or unset DOCKER_HOST.',
  );
});

test.each([
  ['open /etc/containers/policy.json: no such file or directory', 'golang-github-containers-image'],
  ['command required for rootless mode with multiple IDs: exec: "newuidmap": not found', 'uidmap'],
  ['could not find a working conmon binary', 'conmon'],
])('podman: %s', (said, next) => expect(hintFor(podman, said)).toContain(next));

test('nothing is made up about what is not known', () =>
  expect(hintFor(podman, 'something else')).toBeUndefined());
