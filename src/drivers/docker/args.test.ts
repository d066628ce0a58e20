import { describe, expect, test } from 'vitest';
import type { Plan } from '../contract.ts';
import { runArgs, type EngineInput } from './args.ts';

const plan = {
  identity: { hostname: 'glovebox' },
  limits: { memoryBytes: 1_073_741_824, cpu: 4, pids: 256 },
} as unknown as Plan;

const INPUT: EngineInput = {
  engine: 'docker',
  plan,
  id: 'sbx_1',
  image: 'glovebox/root:0123',
  mounts: [
    { kind: 'bind', source: '/usr', target: '/usr', writable: false },
    { kind: 'tmpfs', target: '/tmp', bytes: 1024, mode: 0o1777 },
    { kind: 'tmpfs', target: '/home/ada', bytes: 1024, mode: 0o700 },
    { kind: 'bind', source: '/home/ada/a,"b"', target: '/home/ada/a,"b"', writable: true },
  ],
  agent: '/opt/glovebox-agent',
  user: { uid: 1001, gid: 1002 },
  seccomp: '/run/own/seccomp.json',
  cidfile: '/run/own/cid',
  remapped: false,
  cpus: 2,
  files: 4096,
  ownProcesses: 99,
  labels: { 'glovebox.id': 'sbx_1' },
};

/** The words one after the other, a line for each that begins with a dash. */
const lines = (input: EngineInput): readonly string[] =>
  runArgs(input).join('\0').replaceAll('\0-', '\n-').replaceAll('\0', ' ').split('\n');

describe('runArgs', () => {
  test('docker, an ordinary user', () => {
    expect(lines(INPUT)).toEqual([
      'run',
      '--rm',
      '--interactive',
      '--pull never',
      '--log-driver none',
      '--name glovebox-sbx_1',
      '--cidfile /run/own/cid',
      '--label glovebox.id=sbx_1',
      '--network none',
      '--ipc none',
      '--cgroupns private',
      '--hostname glovebox',
      '--user 1001:1002',
      '--workdir /',
      '--cap-drop ALL',
      '--security-opt no-new-privileges',
      '--security-opt seccomp=/run/own/seccomp.json',
      '--memory 1073741824',
      '--memory-swap 1073741824',
      '--cpus 2',
      '--pids-limit 258',
      '--ulimit core=0:0',
      '--ulimit nofile=4096:4096',
      '--read-only',
      '--tmpfs /sys:ro,nosuid,nodev,noexec,size=4096,mode=0555',
      '--tmpfs /sys/fs/cgroup:ro,nosuid,nodev,noexec,size=4096,mode=0555',
      '--mount type=bind,source=/usr,target=/usr,readonly',
      '--tmpfs /tmp:rw,exec,nosuid,nodev,size=1024,mode=1777',
      '--tmpfs /home/ada:rw,exec,nosuid,nodev,size=1024,mode=0700,uid=1001,gid=1002',
      '--mount type=bind,"source=/home/ada/a,""b""","target=/home/ada/a,""b"""',
      '--mount type=bind,source=/opt/glovebox-agent,target=/.glovebox/agent,readonly',
      '--sig-proxy=false',
      ...['HTTP', 'HTTPS', 'FTP', 'NO', 'ALL'].flatMap((name) => [
        `--env ${name}_PROXY=`,
        `--env ${name.toLowerCase()}_proxy=`,
      ]),
      '--entrypoint /.glovebox/agent glovebox/root:0123 stdio',
    ]);
  });

  test('nothing of the host passes by name: no variable, device, group or privilege', () => {
    for (const engine of ['docker', 'podman'] as const) {
      const words = lines({ ...INPUT, engine, user: { uid: 0, gid: 0 } });
      expect(
        words.filter((line) =>
          /^--(?:privileged|device|group-add|env-file|volume|publish|pid|uts)\b/.test(line),
        ),
      ).toEqual([]);
      expect(words.filter((line) => /^--env [^=]+=.+/.test(line))).toEqual([]);
      expect(words.filter((line) => line.startsWith('--cap-add'))).toEqual(['--cap-add SETFCAP']);
    }
  });

  test('a runtime with a kernel of its own gets room for its processes', () => {
    const words = lines({ ...INPUT, runtime: 'runsc', apparmor: 'strict-profile', remapped: true });
    expect(words).toContain('--runtime runsc');
    expect(words).toContain('--oom-score-adj 1000');
    expect(words).toContain('--pids-limit 1536');
    expect(words).toContain('--security-opt apparmor=strict-profile');
    expect(words).toContain('--userns host');
  });

  test('podman is told not to add mounts, variables and hosts of its own', () => {
    const words = lines({ ...INPUT, engine: 'podman' });
    expect(words).toEqual(
      expect.arrayContaining([
        '--http-proxy=false',
        '--read-only-tmpfs=false',
        '--systemd=false',
        '--no-hosts',
        '--ulimit nproc=99:99',
        '--image-volume ignore',
        '--security-opt mask=/proc/key-users',
        '--mount type=bind,source=/usr,target=/usr,readonly,nosuid,nodev',
        '--mount type=bind,source=/opt/glovebox-agent,target=/.glovebox/agent,readonly,nosuid,nodev',
        '--tmpfs /tmp:rw,exec,nosuid,nodev,size=1024,mode=1777,notmpcopyup',
      ]),
    );
  });

  test('limits that the policy does not have are not set', () => {
    const words = lines({ ...INPUT, plan: { ...plan, limits: {} } as unknown as Plan });
    expect(words.filter((line) => /^--(?:memory|cpus|pids)/.test(line))).toEqual([]);
  });
});
