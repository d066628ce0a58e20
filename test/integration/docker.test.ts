import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, describe, expect } from 'vitest';
import { profileText } from '../../src/drivers/docker/seccomp.ts';
import { rootImage } from '../../src/drivers/docker/root-image.ts';
import { Sandbox } from '../../src/index.ts';
import { withDocker, type DockerBox } from '../support/docker-box.ts';
import { startDocker } from '../support/docker-daemon.ts';
import { PYTHON } from '../support/attack.ts';

const docker = await startDocker();
afterAll(async () => {
  if ('host' in docker) await docker.stop();
});

/** Waits until the engine has no container. */
async function untilNone(box: DockerBox): Promise<void> {
  for (let tries = 0; tries < 100 && box.containers().length > 0; tries++) await delay(100);
  expect(box.containers()).toEqual([]);
}

const nameOf = async (sandbox: Sandbox): Promise<string> => `glovebox-${(await sandbox.getInfo()).sandboxId}`;

const create = (box: DockerBox): Promise<Sandbox> =>
  Sandbox.create({ tier: 'container', workspace: box.workspace, hostEnv: box.env() });

describe('the choice', () => {
  withDocker(docker, 'is made by option, policy or environment, and recorded', async (box) => {
    const env = { GLOVEBOX_DRIVER: '' };
    await box.run(['true'], { env, flags: ['--driver', 'docker'] });
    await box.run(['true'], { env });
    box.policy('version: 1\ndriver: docker\n');
    await box.run(['true'], { env });
    await box.run(['true'], { env, flags: ['--driver', 'gvisor'] });
    const drivers = box.recorded('run.start').map(({ driver }) => driver);
    expect(drivers).toEqual(['docker', 'gvisor', 'docker', 'gvisor']);
  });

  withDocker(docker, 'of a weaker driver by a project needs its trust', async (box) => {
    box.write('glovebox.yaml', 'version: 1\ntier: container\ndriver: docker\n');
    const explained = (): Promise<{ stdout: string }> =>
      box.cli(['explain', '--tier', 'container'], { env: { GLOVEBOX_DRIVER: '' } });
    expect((await explained()).stdout).toMatch(/^driver +gvisor$/m);
    await box.cli(['policy', 'trust', '--yes'], { env: { GLOVEBOX_DRIVER: '' } });
    expect((await explained()).stdout).toMatch(/^driver +docker$/m);
  });

  withDocker(docker, 'without an engine behind it says where it looked and what to do', async (box) => {
    const run = (env: Readonly<Record<string, string>>): Promise<{ code: number | null; stderr: string }> =>
      box.run(['true'], { env });
    const absent = await run({ DOCKER_HOST: `unix://${box.base}/none.sock` });
    expect(absent.code).toBe(125);
    expect(absent.stderr).toMatch(/Cannot connect to the Docker daemon[^]*or unset DOCKER_HOST/);
    const client = await run({ GLOVEBOX_DOCKER: '/nonexistent/docker' });
    expect(client.stderr).toMatch(/\/nonexistent\/docker[^]*unset GLOVEBOX_DOCKER/);
  });
});

describe('glovebox run', () => {
  withDocker(docker, 'passes input, output, errors and the exit code', async (box) => {
    const result = await box.sh('cat; echo err >&2; exit 7', { input: 'in' });
    expect(result).toMatchObject({ code: 7, stdout: 'in' });
    expect(result.stderr).toContain('err');
    expect(box.recorded('run.end')[0]).toMatchObject({ cause: 'exit', status: 7, left: [] });
    expect(box.containers()).toEqual([]);
  });

  withDocker(docker, 'loses nothing of a long output', async (box) => {
    const result = await box.sh('seq 1 300000');
    expect(result.code).toBe(0);
    expect(result.stdout.endsWith('299999\n300000\n')).toBe(true);
    expect(result.stdout.length).toBe(1_988_895);
  });

  withDocker(docker, 'writes the workspace as the caller, and leaves no placeholder in it', async (box) => {
    await box.sh('echo made > file; mkdir dir; cp /etc/passwd dir/');
    expect(box.read('file')).toBe('made\n');
    expect(box.listing()).toEqual(['dir', 'file']);
  });

  withDocker(docker, 'needs one image for all sandboxes alike', async (box) => {
    await box.run(['true']);
    const images = box.docker('images', '--quiet', 'glovebox/root');
    await box.run(['true']);
    expect(box.docker('images', '--quiet', 'glovebox/root')).toBe(images);
  });

  withDocker(docker, 'reaches what a rule allows, by name, and nothing else', async (box) => {
    const origin = createServer((request, response) => response.end(`hello ${request.headers.host}`));
    await new Promise<void>((resolve) => void origin.listen(0, '127.0.0.1', resolve));
    const { port } = origin.address() as AddressInfo;
    await using sandbox = await Sandbox.create({
      tier: 'container',
      workspace: box.workspace,
      hostEnv: box.env(),
      policy: { version: 1, network: { allow: [{ host: 'api.example.org', protocol: 'http' }] } },
      transport: {
        resolver: { resolve: () => Promise.resolve(['93.184.216.34']) },
        dialler: { dial: () => Promise.resolve(connect(port, '127.0.0.1')) },
      },
    });
    const run = (command: string): Promise<{ stdout: string }> => sandbox.commands.run(command);
    expect((await run('curl -sS -m 10 http://api.example.org/')).stdout).toBe('hello api.example.org');
    const direct = await run('curl -sS -m 10 --noproxy "*" http://api.example.org/');
    expect(direct.stdout).toBe('hello api.example.org');
    await expect(run('curl -sS -m 10 http://other.example.org/')).resolves.toMatchObject({
      stdout: expect.stringContaining('default.deny'),
    });
    origin.close();
  });
});

describe('the container', () => {
  withDocker(docker, 'says whose it is, and has what the plan says', async (box) => {
    await using sandbox = await create(box);
    const [name = ''] = box.containers();
    expect(name).toBe(await nameOf(sandbox));
    const [info] = JSON.parse(box.docker('inspect', name)) as [{ HostConfig: { Memory: number } }];
    expect(info.HostConfig.Memory).toBeGreaterThan(0);
    expect(info).toMatchObject({
      Config: { Labels: { 'glovebox.id': name.slice('glovebox-'.length) } },
      HostConfig: {
        NetworkMode: 'none',
        IpcMode: 'none',
        ReadonlyRootfs: true,
        AutoRemove: true,
        Privileged: false,
        CapDrop: ['ALL'],
        LogConfig: { Type: 'none' },
        MemorySwap: info.HostConfig.Memory,
      },
    });
  });

  withDocker(
    docker,
    'serves commands, files and ports, and its receipt says that it is gone',
    async (box) => {
      const sandbox = await create(box);
      expect((await sandbox.commands.run('echo hi; id -u')).stdout).toBe('hi\n1000\n');
      await sandbox.files.write('note', 'text');
      expect(box.read('note')).toBe('text');
      const name = await nameOf(sandbox);
      const { receipt } = await sandbox.kill();
      expect(receipt.complete).toBe(true);
      expect(receipt.items).toContainEqual({ kind: 'container', name, gone: true });
      expect(box.containers()).toEqual([]);
    },
  );

  withDocker(docker, 'ends when its owner is killed, and what that left is swept', async (box) => {
    const running = box.start(['bash', '-c', 'echo up; sleep 1000']);
    await running.said('up');
    expect(box.containers()).toHaveLength(1);
    running.child.kill('SIGKILL');
    await running.ended;
    await untilNone(box);
    const left = path.join(box.base, 'run/glovebox/engine');
    expect(readdirSync(left)).toHaveLength(1);
    expect((await box.run(['true'])).code).toBe(0);
    expect(readdirSync(left)).toEqual([]);
    expect(box.listing()).toEqual([]);
  });

  withDocker(docker, 'of a dead owner is swept even when its agent does not leave by itself', async (box) => {
    await box.run(['true']);
    const image =
      box.docker('images', '--format', '{{.Repository}}:{{.Tag}}', 'glovebox/root').split('\n')[0] ?? '';
    await using sandbox = await create(box);
    const [living = ''] = box.containers();
    const place = box.docker('inspect', '--format', '{{index .Config.Labels "glovebox.place"}}', living);
    const labels = ['--label', `glovebox.place=${place}`, '--label', 'glovebox.owner=4194303.1'];
    const elsewhere = ['--label', 'glovebox.place=another-machine', '--label', 'glovebox.owner=4194303.1'];
    const idle = ['--network', 'none', '--volume', '/usr:/usr:ro', '--detach'];
    const program = [image, '/usr/bin/sleep', '1000'];
    box.docker('run', ...idle, '--name', 'dead', ...labels, ...program);
    box.docker('run', ...idle, '--name', 'foreign', ...elsewhere, ...program);
    expect(box.containers()).toHaveLength(3);
    await box.run(['true']);
    expect(box.containers().toSorted()).toEqual(['foreign', await nameOf(sandbox)]);
    box.docker('rm', '--force', 'foreign');
  });

  withDocker(docker, 'that is removed from outside is a lost sandbox', async (box) => {
    const running = box.start(['bash', '-c', 'echo up; sleep 1000']);
    await running.said('up');
    box.docker('rm', '--force', ...box.containers());
    const result = await running.ended;
    expect(result.code).toBe(137);
    expect(box.recorded('run.end')[0]).toMatchObject({ cause: 'lost', left: [] });
  });
});

describe('with the runtime runsc', () => {
  const missing =
    'host' in docker && !docker.runtimes.includes('runsc') ? { missing: 'runsc is not installed' } : docker;

  withDocker(
    missing,
    'the kernel is another, the gateway and the guarded paths are the same',
    async (box) => {
      const script = 'uname -r; id -u; touch .envrc/x; curl -sS -m 5 https://example.org';
      const result = await box.sh(script, { env: { GLOVEBOX_ENGINE_RUNTIME: 'runsc' } });
      expect(result.stdout).toBe('4.4.0\n1000\n');
      expect(result.stderr).toContain('refused example.org:443');
      expect(box.listing()).toEqual([]);
      expect(box.containers()).toEqual([]);
    },
  );
});

/** Calls that a rule about arguments judges, and whether the table lets them through. */
const CALLS = `
import ctypes, json, socket
libc = ctypes.CDLL(None, use_errno=True)
def refused(*call):
    ctypes.set_errno(0)
    args = [ctypes.c_ulong(one) for one in call]
    return libc.syscall(*args) == -1 and ctypes.get_errno() == 1
AF, CLONE, MODE = 41, 272, 90
print(json.dumps({
  'unix': refused(AF, 1, 1, 0), 'inet': refused(AF, 2, 1, 0), 'raw': refused(AF, 2, 3, 0), 'packet': refused(AF, 17, 3, 0),
  'vsock': refused(AF, 40, 1, 0), 'inet with a high bit': refused(AF, 2 | 1 << 32, 1, 0), 'audit': refused(AF, 16, 3, 9),
  'route': refused(AF, 16, 3, 0), 'tiocsti': refused(16, 0, 0x5412, 0), 'tiocsti with a high bit': refused(16, 0, 0x5412 | 1 << 32, 0),
  'tcgets': refused(16, 0, 0x5401, 0), 'user namespace': refused(CLONE, 0x10000000), 'mount namespace': refused(CLONE, 0x20000),
  'files': refused(CLONE, 0x400), 'setuid bit': refused(MODE, 0, 0o4755), 'mode': refused(MODE, 0, 0o755),
  'keyctl': refused(250, 0, 0), 'bpf': refused(321, 0, 0, 0), 'prctl mm': refused(157, 35, 0), 'prctl name': refused(157, 16, id(ctypes.create_string_buffer(32))),
}))`;

describe("the engine's own filter", () => {
  withDocker(docker, 'is taken by the engine and means what the table says', async (box) => {
    if (process.arch !== 'x64') return;
    const profile = path.join(box.base, 'seccomp.json');
    writeFileSync(profile, profileText({ arch: 'x64', profile: 'default', nesting: false }));
    const root = rootImage(
      ['bin', 'lib', 'lib64', 'sbin'].map((name) => ({
        kind: 'symlink',
        path: `/${name}`,
        to: `usr/${name}`,
      })),
    );
    const env = { ...process.env, DOCKER_HOST: box.host };
    spawnSync('docker', ['import', '-', root.name], { input: root.archive, env });
    const walls = ['--network', 'none', '--security-opt', `seccomp=${profile}`, '--volume', '/usr:/usr:ro'];
    const seen = box.docker('run', '--rm', ...walls, root.name, PYTHON, '-I', '-c', CALLS);
    const allowed = [
      'unix',
      'inet',
      'inet with a high bit',
      'route',
      'tcgets',
      'files',
      'mode',
      'prctl name',
    ];
    const verdicts = JSON.parse(seen) as Record<string, boolean>;
    expect(Object.keys(verdicts).filter((name) => verdicts[name] === false)).toEqual(allowed);
  });
});

describe('doctor', () => {
  withDocker(docker, 'tells of the engine and of what is missing', async (box) => {
    const found = await box.cli(['doctor', '--json']);
    const { findings } = JSON.parse(found.stdout) as {
      findings: { name: string; state: string; detail: string }[];
    };
    expect(findings.find(({ name }) => name === 'docker')).toMatchObject({
      state: 'ok',
      detail: expect.stringContaining('seccomp'),
    });
    mkdirSync(path.join(box.base, 'empty'));
    const gone = await box.cli(['doctor'], { env: { DOCKER_HOST: `unix://${box.base}/empty/none.sock` } });
    expect(gone.code).toBe(125);
    expect(gone.stdout).toMatch(/FAIL {2}docker .*\n {6}fix: Start the engine that listens/);
  });
});
