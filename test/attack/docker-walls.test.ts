// The walls of a sandbox that a Docker engine builds: the same attempts as in the other tiers, each in brief. Source: container escapes by
// way of docker.sock, capabilities, devices and the cgroup release agent (CVE-2019-5736, CVE-2022-0492); FACTS of docker-run(1).
import { afterAll, expect } from 'vitest';
import { expectRecorded, expectRefused, outcomes } from '../support/attack.ts';
import { clientWithout, expectNoPrivilege, noPrivileges } from '../support/engine-walls.ts';
import { withDocker } from '../support/docker-box.ts';
import { startDocker } from '../support/docker-daemon.ts';

const docker = await startDocker();
afterAll(async () => {
  if ('host' in docker) await docker.stop();
});

withDocker(docker, 'no capability, no new privilege, both filters, the sandbox user', async (box) => {
  const result = await box.python(`
status = dict(line.split(':', 1) for line in read_file('/proc/self/status').decode().splitlines() if ':' in line)
for field in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters'): report(field, status.get(field, 'unsaid').strip())
report('ids', f'{os.getuid()} {os.getgid()}')
attempt('userns', lambda: libc.unshare(0x10000000) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('own', lambda: libc.unshare(0x50000000) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('mount', lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW, 0))
attempt('tiocsti', lambda: libc.ioctl(0, 0x100005412, b'x') and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
`);
  const seen = outcomes(result);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd'])
    expect(seen[set]).toBe('0000000000000000');
  expect(seen).toMatchObject({ NoNewPrivs: '1', Seccomp: '2', Seccomp_filters: '2', ids: '1000 1000' });
  expectRefused(result, ['userns', 'own', 'mount', 'packet', 'tiocsti'], ['EPERM', 'ENOSYS', 'EAFNOSUPPORT']);
  expectRecorded(box);
});

withDocker(
  docker,
  'the root, /usr, /proc/sys and /dev are not writable; a wide file system is not there',
  async (box) => {
    const result = await box.python(`
for path in ('/x', '/usr/x', '/etc/x', '/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/dev/x', '/sys/x', '/sys/fs/cgroup/x', '/.glovebox/x', '/.dockerenv'):
    attempt(path, lambda: write_file(path, b'x'))
report('sys', sorted(os.listdir('/sys') + os.listdir('/sys/fs') + os.listdir('/sys/fs/cgroup')))
report('kinds', sorted({line.split(' - ')[1].split()[0] for line in open('/proc/self/mountinfo')} & {'sysfs', 'cgroup', 'cgroup2', 'debugfs', 'securityfs'}))
`);
    const names = [
      '/x',
      '/usr/x',
      '/etc/x',
      '/dev/x',
      '/sys/x',
      '/sys/fs/cgroup/x',
      '/.glovebox/x',
      '/.dockerenv',
    ];
    expectRefused(result, [...names, '/proc/sys/kernel/core_pattern'], ['EROFS', 'EACCES', 'EPERM']);
    // Some kernels have none.
    expectRefused(result, ['/proc/sysrq-trigger'], ['EROFS', 'EACCES', 'EPERM', 'ENOENT']);
    expect(outcomes(result)).toMatchObject({ sys: "['cgroup', 'fs']", kinds: '[]' });
    expectRecorded(box);
  },
);

withDocker(
  docker,
  'nothing of the host passes: its variables, its engine, its keys of users',
  async (box) => {
    const result = await box.python(
      `
report('env', sorted(name for name in os.environ if 'SECRET' in name or 'DOCKER' in name or 'PROXY' in name.upper() and '127.0.0.1' not in os.environ[name] and name.upper() != 'NO_PROXY'))
attempt('socket', lambda: talk('${box.host.slice('unix://'.length)}', b'GET /version HTTP/1.0\\r\\n\\r\\n', family=socket.AF_UNIX))
attempt('init', lambda: read_file('/proc/1/environ'))
report('users', [line.split(':')[0].strip() for line in open('/proc/key-users')])
`,
      { env: { MY_SECRET: box.canary } },
    );
    expect(outcomes(result)).toMatchObject({ env: '[]', users: "['1000']" });
    expectRefused(result, ['socket', 'init'], ['ENOENT', 'EACCES', 'EPERM']);
    expect(result.stdout).not.toContain(box.canary);
    expectRecorded(box);
  },
);

withDocker(docker, 'the network is the gateway and nothing else, and a refusal has a record', async (box) => {
  const result = await box.python(`
report('interfaces', sorted(os.listdir('/proc/sys/net/ipv4/conf')))
attempt('literal', lambda: talk(('93.184.216.34', 443), b'x'))
attempt('metadata', lambda: talk(('169.254.169.254', 80), b'GET / HTTP/1.0\\r\\n\\r\\n'))
attempt('name', lambda: socket.getaddrinfo('example.org', 443))
`);
  expect(outcomes(result)['interfaces']).toBe("['all', 'default', 'lo']");
  expect(outcomes(result)['name']).not.toBe('OK');
  expect(box.recorded('network.verdict').map(({ action }) => action)).toContain('deny');
  expect(box.recorded('network.verdict').some(({ action }) => action === 'allow')).toBe(false);
  expectRecorded(box);
});

withDocker(
  docker,
  'the engine holds memory, processes and scratch space, and the end says which',
  async (box) => {
    const memory = await box.run(['/usr/bin/python3', '-c', 'bytearray(300 << 20)'], {
      flags: ['--memory', '64MiB'],
    });
    expect(memory.code).toBe(137);
    expect(memory.stderr).toContain('memory');
    const pids = await box.python(
      `
count = 0
try:
    while count < 200:
        if os.fork() == 0: time.sleep(30); os._exit(0)
        count += 1
except OSError as error: report('fork', errno.errorcode[error.errno])
report('count', count)
`,
      { flags: ['--pids', '40'] },
    );
    expect(outcomes(pids)['fork']).toBe('EAGAIN');
    expect(Number(outcomes(pids)['count'])).toBeLessThanOrEqual(40);
    const limits = box.recorded('limit.hit').map(({ limit }) => limit);
    expect(limits).toEqual(['memory', 'pids']);
    expectRecorded(box);
  },
);

withDocker(
  docker,
  'a set-user-ID program and a device of the workspace give nothing, though Docker has no word for nosuid',
  async (box) => {
    await expectNoPrivilege(box);
    const image =
      box.docker('images', '--format', '{{.Repository}}:{{.Tag}}', 'glovebox/root').split('\n')[0] ?? '';
    const bind = 'type=bind,source=/usr,target=/usr,readonly';
    for (const words of [
      ['--mount', `${bind},nosuid`],
      ['--mount', `${bind},nodev=true`],
      ['--volume', '/usr:/usr:ro,nosuid,nodev'],
    ])
      expect(box.complaint('run', '--rm', ...words, image, '/usr/bin/true')).toMatch(
        /invalid|unexpected key/,
      );
  },
  [noPrivileges],
);

for (const runtime of ['runc', 'runsc'] as const) {
  const absent =
    'host' in docker && !docker.runtimes.includes(runtime) ? `${runtime} is not installed` : undefined;
  withDocker(
    docker,
    `[${runtime}] a mask that the engine left out is found before anything runs`,
    async (box) => {
      const env = {
        GLOVEBOX_DOCKER: clientWithout(box, '.envrc', 'docker'),
        GLOVEBOX_ENGINE_RUNTIME: runtime,
      };
      const result = await box.sh('echo ran', { env });
      expect(result).toMatchObject({ code: 125, stdout: '' });
      expect(result.stderr).toMatch(/\.envrc: nothing is mounted there[^]*E_MASK_LOST/);
      expect(box.containers()).toEqual([]);
    },
    [absent],
  );
}

withDocker(docker, 'guarded paths of the workspace hold, and nothing of them stays', async (box) => {
  box.write('.git/config', '[core]\n');
  box.write('.git/hooks/pre-commit', '#!/bin/sh\n');
  box.plant('.env', box.workspace);
  const paths = ['.git/config', '.git/hooks/pre-commit', '.vscode/tasks.json', '.envrc'];
  const result = await box.tamper(paths, { flags: ['--deny', '.env'] });
  expect(result.stdout).not.toMatch(/=OK/);
  const read = await box.sh('cat .env; ls -A', { flags: ['--deny', '.env'] });
  expect(read.stdout).not.toContain(box.canary);
  expect(box.listing()).toEqual(['.env', '.git']);
  expectRecorded(box);
});
