import { describe, expect, test } from 'vitest';
import { clientEnvironment, lastLine } from './client.ts';
import { ownerOf, ownershipLabels, privateName } from './ownership.ts';
import { READERS } from './probe.ts';

describe('facts of an engine', () => {
  test('docker', () => {
    const info = {
      ServerVersion: '20.10.24',
      SecurityOptions: ['name=seccomp,profile=default', 'name=rootless', 'name=apparmor'],
      Runtimes: { runc: {}, runsc: {} },
      MemoryLimit: true,
      PidsLimit: true,
    };
    expect(READERS.docker(info)).toEqual({
      version: '20.10.24',
      rootless: true,
      remapped: false,
      seccomp: true,
      apparmor: true,
      cgroups: true,
      runtimes: ['runc', 'runsc'],
    });
    // A client answers without an engine too.
    expect(READERS.docker({ ServerVersion: '', ServerErrors: ['cannot connect'] })).toBeUndefined();
    expect(READERS.docker({ ...info, SecurityOptions: ['name=userns'], MemoryLimit: false })).toMatchObject({
      remapped: true,
      seccomp: false,
      cgroups: false,
    });
  });

  test('podman', () => {
    const info = {
      host: {
        cgroupVersion: 'v2',
        cgroupControllers: ['cpu', 'memory', 'pids'],
        security: { apparmorEnabled: false, rootless: true, seccompEnabled: true },
      },
      version: { Version: '4.3.1' },
    };
    expect(READERS.podman(info)).toMatchObject({
      version: '4.3.1',
      rootless: true,
      seccomp: true,
      cgroups: true,
    });
    const old = { ...info, host: { ...info.host, cgroupVersion: 'v1', cgroupControllers: [] } };
    expect(READERS.podman(old)).toMatchObject({ cgroups: false });
    expect(READERS.podman('not JSON')).toBeUndefined();
  });
});

describe('ownership', () => {
  const owner = { pid: 42, startTicks: '777' };

  test('labels and names say whose a container is, and can be read again', () => {
    const labels = ownershipLabels('sbx_1', { place: 'boot-1', owner });
    expect(labels).toEqual({
      'glovebox.id': 'sbx_1',
      'glovebox.owner': '42.777',
      'glovebox.place': 'boot-1',
    });
    expect(ownerOf(labels['glovebox.owner'] ?? '')).toEqual(owner);
    expect(ownerOf(privateName('sbx_1', { place: 'boot-1', owner }))).toEqual(owner);
  });

  test('what says nothing has no owner, and is never swept', () => {
    for (const text of ['', 'sbx_1', '42', '42.', 'x.y', '<no value>', '42.7 7'])
      expect(ownerOf(text)).toBeUndefined();
  });
});

describe('client', () => {
  test('gets what leads to its engine, and no secret of the caller', () => {
    const env = {
      PATH: '/bin',
      DOCKER_HOST: 'unix:///x',
      ANTHROPIC_API_KEY: 'secret',
      HTTPS_PROXY: 'http://u:p@h',
    };
    expect(clientEnvironment(env)).toEqual({ PATH: '/bin', DOCKER_HOST: 'unix:///x' });
  });

  test('the last line of a complaint is its reason', () => {
    for (const invitation of ["See 'docker run --help'.", "Run 'docker run --help' for more information"])
      expect(lastLine(`docker: Error response: no.\n${invitation}\n\n`)).toBe('Error response: no.');
    const logged = String.raw`time="2026-11-21T21:24:25Z" level=error msg="no \"name\" here"`;
    expect(lastLine(`Error: first\n${logged}\n`)).toBe('no "name" here');
    expect(lastLine('')).toBe('');
  });
});
