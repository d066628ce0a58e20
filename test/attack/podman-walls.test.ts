// The walls of a sandbox that Podman builds, as root and as an ordinary user: what its driver does otherwise than Docker's, and the same
// attempts in brief. Source: podman-run(1), containers.conf(5); CVE-2022-27649 (capabilities that a container inherits).
import { readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { afterAll, expect } from 'vitest';
import { expectRecorded, expectRefused, outcomes } from '../support/attack.ts';
import { clientWithout, expectNoPrivilege, noPrivileges } from '../support/engine-walls.ts';
import { withPodman } from '../support/podman-box.ts';
import { startPodman } from '../support/podman-engine.ts';

const podman = startPodman();
afterAll(() => {
  if ('stop' in podman) podman.stop();
});

const noLimits = 'limits' in podman && !podman.limits ? 'control groups of version 1 are root’s' : undefined;

withPodman(podman, 'no capability, no new privilege, both filters, the sandbox user', async (box) => {
  const result = await box.python(`
status = dict(line.split(':', 1) for line in read_file('/proc/self/status').decode().splitlines() if ':' in line)
for field in ('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd', 'NoNewPrivs', 'Seccomp', 'Seccomp_filters'): report(field, status.get(field, 'unsaid').strip())
report('ids', f'{os.getuid()} {os.getgid()} {set(os.getgroups()) - {1000}}')
attempt('userns', lambda: libc.unshare(0x10000000) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('mount', lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) and (_ for _ in ()).throw(OSError(ctypes.get_errno(), '')))
attempt('packet', lambda: socket.socket(17, socket.SOCK_RAW, 0))
for path in ('/x', '/usr/x', '/etc/x', '/dev/x', '/sys/x', '/sys/fs/cgroup/x', '/run/.containerenv', '/proc/sys/kernel/core_pattern'):
    attempt(path, lambda: write_file(path, b'x'))
attempt('init', lambda: read_file('/proc/1/environ'))
`);
  const seen = outcomes(result);
  for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'CapBnd'])
    expect(seen[set]).toBe('0000000000000000');
  expect(seen).toMatchObject({
    NoNewPrivs: '1',
    Seccomp: '2',
    Seccomp_filters: '2',
    ids: '1000 1000 set()',
  });
  expectRefused(result, ['userns', 'mount', 'packet'], ['EPERM', 'ENOSYS', 'EAFNOSUPPORT']);
  const paths = ['/x', '/usr/x', '/etc/x', '/dev/x', '/sys/x', '/sys/fs/cgroup/x', '/run/.containerenv'];
  expectRefused(result, [...paths, '/proc/sys/kernel/core_pattern', 'init'], ['EROFS', 'EACCES', 'EPERM']);
  expectRecorded(box);
});

withPodman(podman, 'every bound tree is nosuid and nodev, the masks on top too', async (box) => {
  box.write('.git/config', '[core]\n');
  const result = await box.python(`
mounts = {line.split()[4]: line.split()[5].split(',') for line in open('/proc/self/mountinfo')}
here = os.getcwd()
for name in ('/usr', '/.glovebox/agent', '/.glovebox/gateway.sock', '/etc/passwd', here, here + '/.git/config', here + '/.envrc'):
    report(name.replace(here, 'here'), sorted({'nosuid', 'nodev'} & set(mounts[name])))
`);
  expect(Object.values(outcomes(result))).toEqual(Array.from({ length: 7 }, () => "['nodev', 'nosuid']"));
});

withPodman(podman, 'a set-user-ID program and a device of the workspace give nothing', expectNoPrivilege, [
  noPrivileges,
]);

withPodman(podman, 'guarded paths of the workspace hold, and nothing of them stays', async (box) => {
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

withPodman(podman, 'a mask that the engine left out is found before anything runs', async (box) => {
  const { program } = box.engine;
  const env = { GLOVEBOX_PODMAN: clientWithout(box, '.envrc', program) };
  const result = await box.sh('echo ran', { env });
  expect(result).toMatchObject({ code: 125, stdout: '' });
  expect(result.stderr).toMatch(/\.envrc: nothing is mounted there[^]*E_MASK_LOST/);
  expect(box.containers()).toEqual([]);
});

withPodman(podman, 'the network is the gateway and nothing else, and a refusal has a record', async (box) => {
  const result = await box.python(`
report('interfaces', sorted(os.listdir('/proc/sys/net/ipv4/conf')))
attempt('name', lambda: socket.getaddrinfo('example.org', 443))
attempt('literal', lambda: talk(('93.184.216.34', 443), b'x'))
`);
  expect(outcomes(result)['interfaces']).toBe("['all', 'default', 'lo']");
  expect(outcomes(result)['name']).not.toBe('OK');
  const verdicts = box.recorded('network.verdict').map(({ action }) => action);
  expect([...new Set(verdicts)]).toEqual(['deny']);
});

withPodman(
  podman,
  'the engine holds memory and processes, and the end says which',
  async (box) => {
    const memory = await box.run(['/usr/bin/python3', '-c', 'bytearray(300 << 20)'], {
      flags: ['--memory', '64MiB'],
    });
    expect(memory.code).toBe(137);
    const forks = 'for i in range(200): os.fork() or (time.sleep(20), os._exit(0))';
    const pids = await box.python(`attempt('fork', lambda: exec(${JSON.stringify(forks)}))`, {
      flags: ['--pids', '40'],
    });
    expect(outcomes(pids)['fork']).toBe('EAGAIN');
    expect(box.recorded('limit.hit').map(({ limit }) => limit)).toEqual(['memory', 'pids']);
  },
  [noLimits],
);

withPodman(podman, 'what it cannot hold is refused by name', async (box) => {
  if (!box.engine.limits) {
    const bounded = await box.run(['true'], { flags: ['--memory', '1GiB'] });
    expect(bounded.code).toBe(125);
    expect(bounded.stderr).toMatch(/cannot limit memory and processes here[^]*--memory unlimited/);
  }
  box.write('real', 'x');
  symlinkSync('real', path.join(box.workspace, '.envrc'));
  const linked = await box.sh('echo ran');
  expect(linked).toMatchObject({ code: 125, stdout: '' });
  expect(linked.stderr).toMatch(/\.envrc[^]*--driver gvisor[^]*E_UNSUPPORTED/);
  expect(readFileSync(path.join(box.workspace, '.envrc'), 'utf8')).toBe('x');
});
