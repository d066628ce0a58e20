import { describe, expect, it } from 'vitest';
import { firecrackerArgs, firecrackerJailArgs, instanceId, type FirecrackerJailInput } from './args.ts';

const INPUT: FirecrackerJailInput = {
  agent: '/opt/agent',
  firecracker: '/usr/bin/firecracker',
  kvm: '/dev/kvm',
  kernel: '/cache/vmlinux',
  initrd: '/cache/initrd',
  base: '/cache/root.erofs',
  sockets: '/run/machines/sbx_1',
};

describe('the jail of Firecracker', () => {
  it('has one program, the machine, /dev/kvm and its sockets, and no network', () => {
    expect(firecrackerJailArgs(INPUT)).toEqual([
      'bwrap',
      ...[
        '--unshare-user',
        '--unshare-pid',
        '--unshare-ipc',
        '--unshare-uts',
        '--unshare-cgroup',
        '--unshare-net',
      ],
      ...['--disable-userns', '--as-pid-1', '--die-with-parent', '--clearenv', '--cap-drop', 'ALL'],
      ...['--uid', '1000', '--gid', '1000', '--hostname', 'machine'],
      ...['--proc', '/proc', '--dev', '/dev', '--dev-bind', '/dev/kvm', '/dev/kvm'],
      ...['--ro-bind', '/usr/bin/firecracker', '/firecracker'],
      ...['--ro-bind', '/cache/vmlinux', '/machine/kernel', '--ro-bind', '/cache/initrd', '/machine/initrd'],
      ...['--ro-bind', '/cache/root.erofs', '/machine/base'],
      ...['--bind', '/run/machines/sbx_1', '/sockets'],
      ...['--ro-bind', '/opt/agent', '/.glovebox/agent'],
      ...['--remount-ro', '/dev', '--remount-ro', '/', '--chdir', '/'],
      ...['--', '/.glovebox/agent', 'init'],
    ]);
  });

  it('lets a template write its snapshot, and a clone only read it', () => {
    const bindOf = (writable: boolean): string | undefined => {
      const args = firecrackerJailArgs({ ...INPUT, snapshot: { directory: '/cache/template', writable } });
      return args[args.indexOf('/cache/template') - 1];
    };
    expect(bindOf(true)).toBe('--bind');
    expect(bindOf(false)).toBe('--ro-bind');
    expect(firecrackerJailArgs(INPUT)).not.toContain('/snapshot');
  });

  it('has no tun device: the guest has no network card', () => {
    expect(firecrackerJailArgs(INPUT).join(' ')).not.toMatch(/tun|CAP_NET_ADMIN/);
  });
});

describe('the command line of Firecracker', () => {
  it('names its socket and itself, and leaves its filters on', () => {
    expect(firecrackerArgs('sbx_1')).toEqual(['/firecracker', '--api-sock', '/sockets/api', '--id', 'sbx-1']);
  });

  it('has an id of 1 to 64 letters, digits and hyphens', () => {
    for (const id of ['sbx_1', '', 'a/b c', 'x'.repeat(200), 'ÄÖ'])
      expect(instanceId(id)).toMatch(/^[A-Za-z0-9-]{1,64}$/);
  });
});
