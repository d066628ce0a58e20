import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { caught, PolicyFixture } from './fixture.ts';
import { loadPolicy } from './load.ts';
import { findProjectFile } from './project-file.ts';
import { resolveInFull, resolvePolicy } from './resolve.ts';
import { readTrust, removeTrust, trustFile, writeTrust } from './trust.ts';
import type { Widening } from './widenings.ts';

/** Trusts the project policy as `policy trust` does; answers what it widens. */
function trust(
  fixture: PolicyFixture,
  accept: (widening: Widening) => boolean = () => true,
): readonly string[] {
  const file = findProjectFile(fixture.workspace)?.file;
  if (file === undefined) throw new Error('no project file');
  const { widenings } = resolveInFull(fixture.context, {}, { all: file });
  const accepted = widenings.filter(accept).map((widening) => widening.key);
  writeTrust(fixture.context.stateDir, {
    path: file.path,
    sha256: file.sha256,
    accepted,
    time: '2026-01-01T00:00:00.000Z',
  });
  return widenings.map((widening) => widening.text);
}

const WIDE = `version: 1
extends: [profile:node]
tier: process
filesystem:
  read: [~/.ssh]
  write: [/srv/x]
  deny: [.env]
  protect: [Makefile, "!.vscode"]
  tmp: 2GiB
network:
  allow: [evil.test, { host: 10.0.0.1, private: true }, host-loopback:5432]
  deny: [ads.test]
process: { env: [AWS_SECRET_ACCESS_KEY, LANG, { set: { A: b } }], seccomp: debug, nesting: true }
limits: { memory: 64GiB, pids: 10, timeout: 5m }
credentials: { k: { from: env:K, bearer: true, hosts: [evil.test] } }
monitor: { off: true }
`;

describe('an untrusted project policy', () => {
  it('is left out with a notice, and not parsed', () => {
    using fixture = new PolicyFixture();
    const file = fixture.project('{{{ not yaml at all');
    const { policy, notices } = resolvePolicy(fixture.context, {});
    expect(notices).toEqual([
      `${file} is left out: it is not trusted; read it, then run \`glovebox policy trust\``,
    ]);
    expect(policy.layers[2]).toMatchObject({ layer: 'project', file, state: 'untrusted' });
  });

  it('may be nothing but a regular file of its own', () => {
    using fixture = new PolicyFixture();
    const target = path.join(fixture.workspace, 'glovebox.yaml');
    const notice = (): string => resolvePolicy(fixture.context, {}).notices[0] ?? '';
    const elsewhere = fixture.write(path.join(fixture.root, 'elsewhere.yaml'), 'version: 1\n');
    symlinkSync(elsewhere, target);
    expect(notice()).toBe(`${target} is left out: it is a symbolic link`);
    rmSync(target);
    execFileSync('mkfifo', [target]);
    expect(notice()).toBe(`${target} is left out: it is not a regular file`);
    rmSync(target);
    mkdirSync(target);
    expect(notice()).toBe(`${target} is left out: it is not a regular file`);
    rmSync(target, { recursive: true });
    fixture.write(target, '');
    truncateSync(target, 8 * 1024 * 1024);
    expect(notice()).toContain('it is larger than 1048576 bytes');
    rmSync(target);
    mkdirSync(path.join(fixture.root, 'dir'));
    fixture.write(path.join(fixture.root, 'dir/policy.yaml'), 'version: 1\n');
    symlinkSync(path.join(fixture.root, 'dir'), path.join(fixture.workspace, '.glovebox'));
    expect(notice()).toContain('.glovebox is a symbolic link');
  });
});

describe('a trusted project policy', () => {
  it('widens exactly what was accepted', () => {
    using fixture = new PolicyFixture();
    fixture.project(WIDE);
    expect(trust(fixture)).toEqual([
      'reaches registry.npmjs.org:443 (https)',
      'sets variable npm_config_update_notifier to "false"',
      'sets variable npm_config_fund to "false"',
      'filesystem.tmp 1GiB → 2GiB',
      'process.seccomp default → debug',
      'process.nesting false → true',
      'limits.memory 4GiB → 64GiB',
      `reads ${fixture.home}/.ssh`,
      'writes /srv/x',
      `makes ${fixture.workspace}/.vscode writable, which is protected`,
      'reaches evil.test:443 (https)',
      'reaches 10.0.0.1:443 (https, private addresses too)',
      'reaches host-loopback:5432 (tcp)',
      'sees your variable AWS_SECRET_ACCESS_KEY',
      'sets variable A to "b"',
      'defines credential k: from env:K, to evil.test:443, in header:authorization:bearer, as K',
      'sets section monitor',
    ]);
    const { policy } = resolvePolicy(fixture.context, {});
    expect(policy).toMatchObject({
      process: { seccomp: 'debug', nesting: true },
      limits: { memoryBytes: 64 * 2 ** 30, pids: 10, timeoutMs: 300_000 },
    });
    expect(policy.layers[2]?.state).toBe('used');
  });

  it('asks before it takes another driver than gVisor, and never before it goes back to that', () => {
    using fixture = new PolicyFixture();
    fixture.project('version: 1\ntier: container\ndriver: docker\n');
    const driver = (): unknown => resolvePolicy(fixture.context, {}).policy.driver;
    expect(driver()).toBeUndefined();
    expect(trust(fixture, () => false)).toEqual(['driver gvisor → docker']);
    expect(resolvePolicy(fixture.context, {}).policy).toMatchObject({ tier: 'container' });
    expect(driver()).toBeUndefined();
    trust(fixture);
    expect(driver()).toBe('docker');
    fixture.user('version: 1\ndriver: docker\n');
    fixture.project('version: 1\ndriver: podman\n');
    expect(trust(fixture, () => false)).toEqual(['driver docker → podman']);
    expect(driver()).toBe('docker');
    fixture.project('version: 1\ndriver: gvisor\n');
    expect(trust(fixture, () => false)).toEqual([]);
    expect(driver()).toBe('gvisor');
  });

  it('keeps its tightenings when nothing else is accepted', () => {
    using fixture = new PolicyFixture();
    const file = fixture.project(WIDE);
    trust(fixture, () => false);
    const { policy, notices } = resolvePolicy(fixture.context, {});
    expect(policy).toMatchObject({
      filesystem: { read: [], write: [], unprotect: [], tmpBytes: 2 ** 30 },
      network: { allow: [] },
      credentials: [],
      reserved: {},
      process: { seccomp: 'default', nesting: false, envSet: {} },
      limits: { memoryBytes: 2 ** 32, pids: 10, timeoutMs: 300_000, explicit: ['pids', 'timeout'] },
    });
    expect(policy.network.deny.map((rule) => rule.host)).toEqual(['ads.test']);
    expect(policy.filesystem.deny.at(-1)?.path).toBe(path.join(fixture.workspace, '.env'));
    expect(notices).toEqual([
      `${file} widens what you did not accept, which is left out: reaches registry.npmjs.org:443 (https) and 16 more; see \`glovebox policy trust\``,
    ]);
  });

  it('loses what it widens when the user tightens later', () => {
    using fixture = new PolicyFixture();
    fixture.project('version: 1\nlimits: { memory: 3GiB }\n');
    expect(trust(fixture)).toEqual([]);
    expect(resolvePolicy(fixture.context, {}).policy.limits.memoryBytes).toBe(3 * 2 ** 30);
    fixture.user('version: 1\nlimits: { memory: 1GiB }\n');
    const { policy, notices } = resolvePolicy(fixture.context, {});
    expect(policy.limits.memoryBytes).toBe(2 ** 30);
    expect(notices[0]).toContain('limits.memory 1GiB → 3GiB');
  });

  it('is void after any change of its bytes', () => {
    using fixture = new PolicyFixture();
    const file = fixture.project('version: 1\nnetwork: { allow: [a.test] }\n');
    trust(fixture);
    expect(resolvePolicy(fixture.context, {}).policy.network.allow).toHaveLength(1);
    fixture.project('version: 1\nnetwork: { allow: [a.test] }\n ');
    const { policy, notices } = resolvePolicy(fixture.context, {});
    expect(policy.network.allow).toEqual([]);
    expect(notices).toEqual([
      `${file} is left out: it changed since you trusted it; read it, then run \`glovebox policy trust\``,
    ]);
  });

  it('is void when a link takes its place, even to the same bytes', () => {
    using fixture = new PolicyFixture();
    const file = fixture.project('version: 1\nnetwork: { allow: [a.test] }\n');
    trust(fixture);
    renameSync(file, `${file}.old`);
    symlinkSync(`${file}.old`, file);
    expect(resolvePolicy(fixture.context, {}).policy.network.allow).toEqual([]);
  });

  it('is not trusted in another place', () => {
    using fixture = new PolicyFixture();
    const file = fixture.project('version: 1\nnetwork: { allow: [a.test] }\n');
    trust(fixture);
    const other = path.join(fixture.home, 'other');
    fixture.write(path.join(other, 'glovebox.yaml'), readFileSync(file));
    expect(resolvePolicy(fixture.context, { workspace: other }).policy.network.allow).toEqual([]);
  });

  it('may extend profiles only, and name no other workspace', () => {
    using fixture = new PolicyFixture();
    fixture.write(path.join(fixture.workspace, 'more.yaml'), 'version: 1\n');
    fixture.project('version: 1\nextends: [./more.yaml]\n');
    expect(caught(() => trust(fixture)).message).toContain('a project policy extends built-in profiles only');
    fixture.project('version: 1\nfilesystem: { workspace: .. }\n');
    expect(caught(() => trust(fixture)).message).toContain('a project policy speaks for its own directory');
    fixture.project('version: 1\nfilesystem: { workspace: { path: ., writable: false } }\n');
    trust(fixture);
    expect(resolvePolicy(fixture.context, {}).policy.filesystem.workspaceWritable).toBe(false);
  });

  it('stays below the organisation', () => {
    using fixture = new PolicyFixture();
    fixture.organisation('version: 1\nnetwork: { allow: [] }\n');
    const file = fixture.project('version: 1\nnetwork: { allow: [a.test] }\n');
    expect(caught(() => trust(fixture)).message).toContain(`${file}:2:20 asks for more than`);
  });
});

describe('the record of trust', () => {
  const record = { path: '/p/glovebox.yaml', sha256: 'ab', accepted: ['x'], time: 't' };

  it('is private and comes back as it went', () => {
    using fixture = new PolicyFixture();
    const { stateDir } = fixture.context;
    writeTrust(stateDir, record);
    expect(readTrust(stateDir, record.path)).toMatchObject(record);
    const file = trustFile(stateDir, record.path);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
    expect(removeTrust(stateDir, record.path)).toBe(true);
    expect(removeTrust(stateDir, record.path)).toBe(false);
  });

  it('counts for nothing when it is odd', () => {
    using fixture = new PolicyFixture();
    const { stateDir } = fixture.context;
    writeTrust(stateDir, record);
    const file = trustFile(stateDir, record.path);
    chmodSync(file, 0o644);
    expect(readTrust(stateDir, record.path)).toBeUndefined();
    chmodSync(file, 0o600);
    for (const text of [
      '',
      '{',
      '[]',
      'null',
      '{"path":"/p/glovebox.yaml"}',
      JSON.stringify({ ...record, path: '/q' }),
      JSON.stringify({ ...record, accepted: [1] }),
    ]) {
      writeFileSync(file, text);
      expect(readTrust(stateDir, record.path)).toBeUndefined();
    }
    renameSync(file, `${file}.real`);
    symlinkSync(`${file}.real`, file);
    expect(readTrust(stateDir, record.path)).toBeUndefined();
  });

  it('also takes effect through the cache', async () => {
    using fixture = new PolicyFixture();
    fixture.project('version: 1\nnetwork: { allow: [a.test] }\n');
    const count = async (): Promise<number> =>
      (await loadPolicy(fixture.context, {})).policy.network.allow.length;
    expect([await count(), await count()]).toEqual([0, 0]);
    trust(fixture);
    expect([await count(), await count()]).toEqual([1, 1]);
    fixture.project('version: 1\nnetwork: { allow: [a.test, b.test] }\n');
    expect([await count(), await count()]).toEqual([0, 0]);
    fixture.project('version: 1\nnetwork: { allow: [a.test] }\n');
    expect(await count()).toBe(1);
    removeTrust(fixture.context.stateDir, path.join(fixture.workspace, 'glovebox.yaml'));
    expect(await count()).toBe(0);
  });
});
