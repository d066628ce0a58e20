import { describe, expect, it } from 'vitest';
import { caught } from '../../policy/fixture.ts';
import { violations } from './api.fixture.ts';
import { bootCalls, pauseCall, restoreCalls, resumeCall, snapshotCalls, type BootInput } from './requests.ts';

const INPUT: BootInput = { arch: 'x64', memoryBytes: 256 * 1024 ** 2, cpus: 1, disk: true };

const LOGGER = { method: 'PUT', path: '/logger', body: { level: 'Warning', show_level: true } };

describe('the calls of a boot', () => {
  it('are these, in this order', () => {
    expect(bootCalls(INPUT)).toEqual([
      LOGGER,
      {
        method: 'PUT',
        path: '/machine-config',
        body: { vcpu_count: 1, mem_size_mib: 256, smt: false, track_dirty_pages: false },
      },
      {
        method: 'PUT',
        path: '/boot-source',
        body: {
          kernel_image_path: '/machine/kernel',
          initrd_path: '/machine/initrd',
          boot_args:
            'console=ttyS0 reboot=k panic=-1 pci=off i8042.noaux i8042.nomux i8042.dumbkbd quiet loglevel=1 ' +
            'mitigations=off audit=0 random.trust_cpu=on cryptomgr.notests init_on_alloc=0 swiotlb=noforce glovebox_vsock=2',
        },
      },
      {
        method: 'PUT',
        path: '/drives/base',
        body: {
          drive_id: 'base',
          path_on_host: '/machine/base',
          is_root_device: false,
          is_read_only: true,
          cache_type: 'Unsafe',
          io_engine: 'Sync',
        },
      },
      { method: 'PUT', path: '/vsock', body: { guest_cid: 3, uds_path: '/sockets/guest' } },
      {
        method: 'PUT',
        path: '/entropy',
        body: { rate_limiter: { bandwidth: { size: 4096, refill_time: 100 } } },
      },
      { method: 'PUT', path: '/actions', body: { action_type: 'InstanceStart' } },
    ]);
  });

  it('have no disk where there is none, and no keyboard on arm64', () => {
    const calls = bootCalls({ ...INPUT, arch: 'arm64', disk: false });
    expect(calls.map((call) => call.path)).toEqual([
      ...['/logger', '/machine-config', '/boot-source', '/vsock', '/entropy', '/actions'],
    ]);
    expect(JSON.stringify(calls)).not.toContain('i8042');
  });

  it('round memory up to whole MiB', () => {
    const calls = bootCalls({ ...INPUT, memoryBytes: 256 * 1024 ** 2 + 1, cpus: 32 });
    expect(calls[1]?.body).toMatchObject({ mem_size_mib: 257, vcpu_count: 32 });
  });

  it.each([{ cpus: 0 }, { cpus: 33 }, { cpus: 1.5 }, { memoryBytes: 0 }, { memoryBytes: Infinity }])(
    'are none for a machine with %o',
    (part) => {
      expect(caught(() => bootCalls({ ...INPUT, ...part }))).toMatchObject({ code: 'E_UNSUPPORTED' });
    },
  );
});

describe('the calls of a snapshot', () => {
  it('pause the machine, and write both files', () => {
    expect(snapshotCalls()).toEqual([
      { method: 'PATCH', path: '/vm', body: { state: 'Paused' } },
      {
        method: 'PUT',
        path: '/snapshot/create',
        body: { snapshot_type: 'Full', snapshot_path: '/snapshot/state', mem_file_path: '/snapshot/memory' },
      },
    ]);
  });

  it('are loaded by a Firecracker that was told nothing but where to log', () => {
    expect(restoreCalls()).toEqual([
      LOGGER,
      {
        method: 'PUT',
        path: '/snapshot/load',
        body: {
          snapshot_path: '/snapshot/state',
          mem_backend: { backend_type: 'File', backend_path: '/snapshot/memory' },
          resume_vm: false,
        },
      },
      { method: 'PATCH', path: '/vm', body: { state: 'Resumed' } },
    ]);
  });
});

describe('every call', () => {
  const all = [...bootCalls(INPUT), ...snapshotCalls(), ...restoreCalls(), pauseCall(), resumeCall()];

  it.each(all.map((call) => [`${call.method} ${call.path}`, call] as const))(
    '%s is of the API',
    (_name, call) => {
      expect(violations(call.method, call.path, call.body)).toEqual([]);
    },
  );

  it('fits in what Firecracker reads of a request by default, 51200 bytes', () => {
    for (const call of all) expect(JSON.stringify(call.body).length).toBeLessThan(51_200 / 10);
  });

  it('would be told from a wrong one', () => {
    expect(violations('PUT', '/vsock', { guest_cid: 2, uds_path: '/s' })).toEqual([
      'guest_cid: out of bounds',
    ]);
    expect(violations('PUT', '/vsock', { guest_cid: 3 })).toEqual(['uds_path: missing']);
    expect(violations('PUT', '/actions', { action_type: 'Stop' })).toEqual(['action_type: no such word']);
    expect(violations('PATCH', '/vm', { state: 'Paused', now: true })).toEqual(['now: unknown']);
    expect(violations('PUT', '/vm', { state: 'Paused' })).toEqual(['no PUT /vm']);
    expect(
      violations('PUT', '/snapshot/load', { snapshot_path: '/s', mem_backend: { backend_type: 'File' } }),
    ).toEqual(['mem_backend.backend_path: missing']);
  });
});
