// Rules that an engine could only seem to hold are refused. Source: bind mounts of engines follow symbolic links at both ends
// (CVE-2018-15664, CVE-2021-30465); their protocols are JSON.
import { existsSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect } from 'vitest';
import { withDocker, type DockerBox } from '../support/docker-box.ts';
import { startDocker } from '../support/docker-daemon.ts';

const docker = await startDocker();
afterAll(async () => {
  if ('host' in docker) await docker.stop();
});

const hasAppArmor = existsSync('/sys/kernel/security/apparmor') ? 'this host has AppArmor' : undefined;

async function expectUnsupported(box: DockerBox, text: string, flags: readonly string[] = []): Promise<void> {
  const result = await box.sh('echo ran', { flags });
  expect(result).toMatchObject({ code: 125, stdout: '' });
  expect(result.stderr).toContain('E_UNSUPPORTED');
  expect(result.stderr).toContain(text);
  expect(box.containers()).toEqual([]);
}

withDocker(docker, 'a symbolic link that has to be held in its place', async (box) => {
  box.write('real', 'x');
  symlinkSync('real', path.join(box.workspace, '.envrc'));
  await expectUnsupported(box, '.envrc');
});

withDocker(docker, 'a denied name that is not UTF-8', async (box) => {
  writeFileSync(
    Buffer.concat([Buffer.from(`${box.workspace}/`), Buffer.from([0xff]), Buffer.from('.pem')]),
    'x',
  );
  await expectUnsupported(box, String.raw`\xff.pem`, ['--deny', '**/*.pem']);
});

withDocker(docker, 'a name with a line end in it', async (box) => {
  box.write('a\nb.pem', 'x');
  await expectUnsupported(box, String.raw`a\x0ab.pem`, ['--deny', '**/*.pem']);
});

withDocker(docker, 'a runtime that the engine does not have', async (box) => {
  const result = await box.run(['true'], { env: { GLOVEBOX_ENGINE_RUNTIME: 'kata' } });
  expect(result.code).toBe(125);
  expect(result.stderr).toContain('E_TIER_UNAVAILABLE');
  expect(result.stderr).toContain('kata');
});

withDocker(
  docker,
  'a profile of AppArmor where there is none',
  async (box) => {
    const result = await box.run(['true'], { env: { GLOVEBOX_ENGINE_APPARMOR: 'strict' } });
    expect(result.code).toBe(125);
    expect(result.stderr).toMatch(/no AppArmor for the profile strict[^]*E_TIER_UNAVAILABLE/);
  },
  [hasAppArmor],
);
