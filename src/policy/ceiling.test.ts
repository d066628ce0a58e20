import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CommandLineLayer, ResolvedPolicy } from './contract.ts';
import { caught, PolicyFixture } from './fixture.ts';
import { resolvePolicy } from './resolve.ts';

function run(fixture: PolicyFixture, layer: CommandLineLayer = {}): ResolvedPolicy {
  return resolvePolicy(fixture.context, layer);
}

describe('the organisation', () => {
  it('grants nothing: its lists are the most there is', () => {
    using fixture = new PolicyFixture();
    fixture.organisation('version: 1\nnetwork: { allow: ["*.example.com"] }\nfilesystem: { read: [/opt] }\n');
    const { policy } = run(fixture, { allow: ['a.example.com'], read: ['/opt/x'] });
    expect(policy.network.allow.map((rule) => rule.host)).toEqual(['a.example.com']);
    expect(policy.filesystem.read.map((rule) => rule.path)).toEqual(['/opt/x']);
    expect(run(fixture).policy.network.allow).toEqual([]);
  });

  it('adds its denials and protections', () => {
    using fixture = new PolicyFixture();
    fixture.organisation(
      'version: 1\nnetwork: { deny: [evil.test] }\nfilesystem: { deny: [~/.ssh], protect: [Makefile] }\n',
    );
    const { policy } = run(fixture);
    expect(policy.network.deny.map((rule) => rule.host)).toEqual(['evil.test']);
    expect(policy.filesystem.deny.map((rule) => rule.path)).toContain(path.join(fixture.home, '.ssh'));
    expect(policy.filesystem.protect.map((rule) => rule.path)).toContain(
      path.join(fixture.workspace, 'Makefile'),
    );
  });

  it('names both places for everything that asks for more, at once', () => {
    using fixture = new PolicyFixture();
    const org = fixture.organisation(`version: 1
tier: container
filesystem: { read: [/opt], write: [], tmp: 1GiB }
network:
  allow:
    - "*.example.com"
    - { host: db.example.net, ports: [5432], protocol: tcp }
process: { seccomp: default, nesting: false, env: [LANG, HOME_PAGE] }
limits: { memory: 1GiB }
`);
    const user = fixture.user(`version: 1
tier: process
filesystem: { read: [/opt/a, /srv/b], write: [/srv/c], tmp: 2GiB }
network:
  allow:
    - a.example.com
    - example.com
    - { host: db.example.net, ports: [5432, 5433], protocol: tcp }
    - { host: b.example.com, private: true }
process: { seccomp: debug, nesting: true, env: [TOKEN, { set: { X: y } }] }
limits: { memory: unlimited }
`);
    const error = caught(() => run(fixture, { allow: ['evil.test'], limits: { memory: '2GiB' } }));
    expect(error.code).toBe('E_POLICY_CEILING');
    expect(error.message.split('\n  ')).toEqual([
      '13 settings ask for more than the organisation allows:',
      `${user}:2:7 asks for more than ${org}:2:7 allows: tier process: there it is container`,
      `${user}:3:61 asks for more than ${org}:3:45 allows: filesystem.tmp 2GiB: the most there is 1GiB`,
      `${user}:10:21 asks for more than ${org}:8:21 allows: process.seccomp debug: there it is default`,
      `${user}:10:37 asks for more than ${org}:8:39 allows: process.nesting true: there it is false`,
      `${user}:11:19 asks for more than ${org}:9:19 allows: limits.memory unlimited: the most there is 1GiB`,
      `${user}:3:30 asks for more than ${org}:3:21 allows: reading /srv/b: no read entry there covers it`,
      `${user}:3:47 asks for more than ${org}:3:36 allows: writing /srv/c: no write entry there covers it`,
      `${user}:7:7 asks for more than ${org}:6:5 allows: network access to example.com:443: no rule there covers example.com`,
      `${user}:8:7 asks for more than ${org}:7:7 allows: network access to db.example.net:5432,5433: db.example.net is there for port 5432 only`,
      `${user}:9:7 asks for more than ${org}:6:7 allows: network access to b.example.com:443: private addresses are not allowed there`,
      `${user}:10:49 asks for more than ${org}:8:51 allows: variable TOKEN: it is not in process.env there`,
      `--memory asks for more than ${org}:9:19 allows: limits.memory 2GiB: the most there is 1GiB`,
      `--allow evil.test asks for more than ${org}:6:5 allows: network access to evil.test:443: no rule there covers evil.test`,
    ]);
    expect(error.context['violations']).toHaveLength(13);
  });

  it('sets the values that nobody else sets, and trims what only the default brings', () => {
    using fixture = new PolicyFixture();
    fixture.organisation(
      'version: 1\ntier: vm\nfilesystem: { mode: review }\nprocess: { env: [LANG, { set: { HTTPS_CA: x } }] }\nlimits: { memory: 1GiB, pids: 5000, timeout: 1h }\n',
    );
    const { policy, notices } = run(fixture);
    expect(policy).toMatchObject({
      tier: 'vm',
      filesystem: { mode: 'review' },
      process: { envPass: ['LANG'], envSet: { HTTPS_CA: 'x' } },
      limits: { memoryBytes: 2 ** 30, pids: 1024, timeoutMs: 3_600_000, explicit: ['memory', 'timeout'] },
    });
    expect(notices[0]).toMatch(/^left out variable LC_ALL: it is not in process\.env there/);
  });

  it('lets auto mean its own minimum', () => {
    using fixture = new PolicyFixture();
    fixture.organisation('version: 1\ntier: vm\n');
    expect(run(fixture, { tier: 'auto' }).policy.tier).toBe('vm');
    expect(run(fixture, { tier: 'vm+gvisor' }).policy.tier).toBe('vm+gvisor');
    expect(caught(() => run(fixture, { tier: 'container' })).code).toBe('E_POLICY_CEILING');
  });

  it('bounds the driver: by its own word, else by what its tier is made of', () => {
    using fixture = new PolicyFixture();
    const user = fixture.user('version: 1\ndriver: docker\n');
    const org = fixture.organisation('version: 1\ntier: container\n');
    expect(caught(() => run(fixture)).message).toBe(
      `${user}:2:9 asks for more than ${org}:2:7 allows: driver docker: there it is gvisor`,
    );
    fixture.user('version: 1\n');
    expect(run(fixture).policy).toMatchObject({ tier: 'container', driver: 'gvisor' });
    expect(caught(() => run(fixture, { driver: 'podman' })).message).toMatch(/^--driver asks for more than/);
    fixture.organisation('version: 1\ntier: container\ndriver: docker\n');
    expect(run(fixture).policy.driver).toBe('docker');
    expect(run(fixture, { driver: 'gvisor' }).policy.driver).toBe('gvisor');
    expect(caught(() => run(fixture, { driver: 'podman' })).code).toBe('E_POLICY_CEILING');
    fixture.organisation('version: 1\ntier: vm\n');
    expect(run(fixture).policy).toMatchObject({ tier: 'vm', driver: 'qemu' });
    expect(caught(() => run(fixture, { driver: 'firecracker' })).code).toBe('E_POLICY_CEILING');
    fixture.organisation('version: 1\ntier: vm\ndriver: firecracker\n');
    expect(run(fixture).policy.driver).toBe('firecracker');
    expect(run(fixture, { driver: 'qemu' }).policy.driver).toBe('qemu');
    for (const open of ['tier: process', 'tier: auto', 'limits: { pids: 99 }']) {
      fixture.organisation(`version: 1\n${open}\n`);
      expect(run(fixture).policy.driver).toBeUndefined();
      expect(run(fixture, { tier: 'container', driver: 'podman' }).policy.driver).toBe('podman');
    }
  });

  it('covers hosts in all the ways and no other', () => {
    using fixture = new PolicyFixture();
    fixture.organisation(
      'version: 1\nnetwork:\n  allow:\n    - { host: "*.a.test", ports: [443, 8443], budget: { requests: 5 } }\n    - { host: t.test, port: 22, protocol: tcp }\n    - { host: api.test, tls: inspect, methods: [GET] }\n    - { host: "*.p.test", private: true, allowNoSni: true }\n    - { host: "*.r.test", private: [10.2.0.0/16, fd12::/32] }\n    - { host: 10.2.0.0/16, private: [10.2.0.0/16] }\n',
    );
    const ask = (rule: string): string => {
      fixture.user(`version: 1\nnetwork: { allow: [${rule}] }\n`);
      try {
        run(fixture);
        return 'ok';
      } catch (error) {
        return error instanceof Error ? (error.message.split(': ').at(-1) ?? '') : '';
      }
    };
    expect(ask('{ host: x.a.test, ports: [443, 8443], budget: { requests: 5 } }')).toBe('ok');
    expect(ask('{ host: "*.x.a.test", budget: { requests: 4 } }')).toBe('ok');
    expect(ask('x.a.test')).toBe('its budget for requests there is 5');
    expect(ask('{ host: x.a.test, protocol: http, port: 443, budget: { requests: 1 } }')).toBe(
      'it is there for https only',
    );
    expect(ask('{ host: t.test, port: 22 }')).toBe('ok');
    expect(ask('{ host: t.test, port: 22, allowNoSni: true }')).toBe('ok');
    expect(ask('api.test')).toBe('it is inspected there');
    expect(ask('{ host: api.test, tls: inspect, methods: [GET] }')).toBe('ok');
    expect(ask('{ host: y.p.test, private: true, allowNoSni: true }')).toBe('ok');
    const elsewhere = (ranges: string): string => `private addresses are allowed there in ${ranges} only`;
    expect(ask('{ host: y.r.test, private: [10.2.3.0/24] }')).toBe('ok');
    expect(ask('{ host: y.r.test, private: [fd12::/32, 10.2.0.0/16] }')).toBe('ok');
    expect(ask('y.r.test')).toBe('ok');
    expect(ask('{ host: y.r.test, private: [10.2.0.0/15] }')).toBe(elsewhere('10.2.0.0/16 fd12::/32'));
    expect(ask('{ host: y.r.test, private: true }')).toBe(elsewhere('10.2.0.0/16 fd12::/32'));
    expect(ask('{ host: y.p.test, private: [10.2.3.0/24], allowNoSni: true }')).toBe('ok');
    expect(ask('{ host: 10.2.1.1, private: true }')).toBe('ok');
    expect(ask('{ host: 10.3.1.1, private: true }')).toBe('no rule there covers 10.3.1.1');
    expect(ask('p.test')).toBe('no rule there covers p.test');
    expect(ask('a.testx.test')).toBe('no rule there covers a.testx.test');
  });

  it('fixes values, credentials and sections', () => {
    using fixture = new PolicyFixture();
    fixture.organisation(
      'version: 1\nprocess: { env: [{ set: { A: org } }] }\ncredentials: { k: { from: env:K, header: x-k } }\nmonitor: { on: true }\nfilesystem: { protect: [.vscode] }\n',
    );
    expect(run(fixture).policy).toMatchObject({
      process: { envSet: { A: 'org' } },
      credentials: [{ name: 'k' }],
      reserved: { monitor: { on: true } },
    });
    fixture.user(
      'version: 1\nprocess: { env: [{ set: { A: mine } }] }\ncredentials: { k: { from: env:J, header: x-k, hosts: [a.test] } }\nmonitor: {}\nfilesystem: { protect: ["!.vscode"] }\n',
    );
    const what = caught(() => run(fixture)).message;
    for (const part of [
      'variable A: it has a fixed value there',
      'another meaning of credential k',
      'monitor of its own',
      'lifting the protection of',
    ])
      expect(what).toContain(part);
  });

  it('says where workspaces lie', () => {
    using fixture = new PolicyFixture();
    const org = fixture.organisation('version: 1\nfilesystem: { workspace: ~/src }\n');
    expect(caught(() => run(fixture)).message).toBe(
      `the workspace ${fixture.workspace} asks for more than ${org}:2:26 allows: workspaces lie in ${fixture.home}/src`,
    );
    mkdirSync(path.join(fixture.home, 'src/a'), { recursive: true });
    expect(run(fixture, { workspace: '~/src/a' }).policy.filesystem.workspace).toBe(
      path.join(fixture.home, 'src/a'),
    );
  });

  it('is not skipped when its file cannot be used', () => {
    using fixture = new PolicyFixture();
    mkdirSync(fixture.context.organisationFile);
    expect(caught(() => run(fixture)).message).toContain('it is not a regular file');
  });
});
