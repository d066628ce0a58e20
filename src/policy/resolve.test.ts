import { chmodSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { CommandLineLayer, Policy } from './contract.ts';
import { caught, PolicyFixture } from './fixture.ts';
import { resolvePolicy } from './resolve.ts';

function policyOf(fixture: PolicyFixture, layer: CommandLineLayer = {}): Policy {
  return resolvePolicy(fixture.context, layer).policy;
}

const hosts = (policy: Policy): readonly string[] =>
  policy.network.allow.map((rule) => `${rule.host}:${rule.ports.join(',')}/${rule.protocol}`);

describe('the base', () => {
  it('is profile:default when nobody says anything', () => {
    using fixture = new PolicyFixture();
    const { policy, notices } = resolvePolicy(fixture.context, {});
    expect(policy).toMatchObject({
      version: 1,
      tier: 'process',
      filesystem: {
        workspace: fixture.workspace,
        mode: 'direct',
        workspaceWritable: true,
        read: [],
        write: [],
        unprotect: [],
        tmpBytes: 2 ** 30,
      },
      network: { allow: [], deny: [], budget: {} },
      credentials: [],
      process: {
        envPass: ['LANG', 'LC_ALL', 'TZ', 'TERM', 'COLORTERM', 'NO_COLOR', 'COLUMNS', 'LINES'],
        envSet: {},
        seccomp: 'default',
        user: 'sandbox',
        nesting: false,
      },
      limits: {
        memoryBytes: 2 ** 32,
        pids: 1024,
        files: 4096,
        fileSizeBytes: 2 ** 33,
        require: [],
        explicit: [],
      },
      reserved: {},
    });
    expect(notices).toEqual([]);
    expect(policy.layers.map((info) => `${info.layer} ${info.state}`)).toEqual([
      'organisation absent',
      'user absent',
      'project absent',
      'command-line used',
    ]);
  });

  it('is truly empty with profile:empty', () => {
    using fixture = new PolicyFixture();
    const policy = policyOf(fixture, { profiles: ['empty'] });
    expect(policy.process).toEqual({
      envPass: [],
      envSet: {},
      seccomp: 'default',
      user: 'sandbox',
      nesting: false,
    });
    expect(policy.limits).toEqual({ require: [], explicit: [] });
  });

  it('hides the directories of Glovebox itself', () => {
    using fixture = new PolicyFixture();
    const { configDir, stateDir, cacheDir } = fixture.context;
    expect(policyOf(fixture).filesystem.deny.map((rule) => rule.path)).toEqual([
      configDir,
      stateDir,
      cacheDir,
      path.join(fixture.root, 'run/glovebox'),
    ]);
    expect(caught(() => policyOf(fixture, { write: [stateDir] })).code).toBe('E_POLICY_INVALID');
    // Hidden below this, the place where the sandbox is put together would be hidden from the one who does it.
    const around = caught(() => policyOf(fixture, { read: [path.join(fixture.root, 'run')] }));
    expect(around.code).toBe('E_POLICY_INVALID');
    expect(around.message).toContain('XDG_RUNTIME_DIR can name another place');
  });

  it('is frozen and hashed', () => {
    using fixture = new PolicyFixture();
    const one = resolvePolicy(fixture.context, {});
    expect(one.hash).toMatch(/^[0-9a-f]{64}$/);
    expect(resolvePolicy(fixture.context, {}).hash).toBe(one.hash);
    expect(Object.isFrozen(one.policy.filesystem.protect)).toBe(true);
  });
});

describe('the command line', () => {
  it('adds hosts, paths, variables and limits', () => {
    using fixture = new PolicyFixture();
    const policy = policyOf(fixture, {
      profiles: ['node', 'profile:python'],
      allow: ['api.github.com', 'example.com:80', 'h.example.com:8443', 'host-loopback:5432', '10.0.0.7:22'],
      read: ['/opt/data', '~/notes', '../sibling'],
      write: ['/srv/out'],
      deny: ['.env', '**/*.pem'],
      env: ['FOO', 'BAR=b=c'],
      tier: 'vm',
      limits: { cpu: '1.5', memory: '2GiB', pids: '64', timeout: '90s', output: '1048576' },
    });
    expect(hosts(policy)).toEqual([
      'registry.npmjs.org:443/https',
      'pypi.org:443/https',
      'files.pythonhosted.org:443/https',
      'api.github.com:443/https',
      'example.com:80/http',
      'h.example.com:8443/https',
      'host-loopback:5432/tcp',
      '10.0.0.7:22/https',
    ]);
    expect(policy.network.allow.at(-1)?.private).toBe(true);
    expect(policy.filesystem.read.map((rule) => rule.path)).toEqual([
      '/opt/data',
      path.join(fixture.home, 'notes'),
      path.join(fixture.home, 'sibling'),
    ]);
    expect(policy.filesystem.deny.slice(-2).map((rule) => [rule.path, rule.glob])).toEqual([
      [path.join(fixture.workspace, '.env'), false],
      [path.join(fixture.workspace, '**/*.pem'), true],
    ]);
    expect(policy.process.envPass).toContain('FOO');
    expect(policy.process.envSet).toMatchObject({ BAR: 'b=c' });
    expect(policy.tier).toBe('vm');
    expect(policy.limits).toMatchObject({
      cpu: 1.5,
      memoryBytes: 2 ** 31,
      pids: 64,
      timeoutMs: 90_000,
      outputBytes: 2 ** 20,
      files: 4096,
    });
    expect(policy.limits.explicit).toEqual(['cpu', 'memory', 'pids', 'output', 'timeout']);
  });

  it('tells every wrong option at once', () => {
    using fixture = new PolicyFixture();
    const error = caught(() =>
      policyOf(fixture, {
        allow: ['https://x.com/', 'host-loopback'],
        read: ['*.x'],
        env: ['1A', 'LD_PRELOAD'],
        limits: { memory: '2G', timeout: '10', fileSize: 'x', speed: '1' },
      }),
    );
    expect(error.code).toBe('E_POLICY_INVALID');
    expect(error.message).toBe(`the policy has 9 problems:
  --memory: found "2G", expected a size such as 256MiB (did you mean 2GiB?)
  --timeout: found "10", expected a time such as 90s or 10m (did you mean 10s?)
  --file-size: found "x", expected a size such as 256MiB
  speed: there is no such limit; known: cpu, memory, pids, files, fileSize, output, timeout, ttl
  --read: found "*.x", expected a path: patterns grant nothing: name the directory, or add \`literal: true\` when the name really holds these characters
  --allow: found "https://x.com/", expected HOST or HOST:PORT: it is a URL (did you mean x.com?)
  --allow: found "host-loopback", expected HOST or HOST:PORT: a service on this machine is allowed by its port (did you mean host-loopback:5432?)
  --env: expected NAME or NAME=VALUE: a name is letters, digits and "_"
  --env: found "LD_PRELOAD", expected a variable that may pass: it steers a loader or interpreter; set it with NAME=VALUE if the sandbox needs one`);
  });

  it('says when a denial makes an option useless', () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nfilesystem: { deny: [/secret] }\nnetwork: { deny: ["*.evil.test"] }\n');
    const { notices } = resolvePolicy(fixture.context, {
      allow: ['a.evil.test'],
      read: ['/secret/x', './src'],
    });
    const file = path.join(fixture.context.configDir, 'policy.yaml');
    expect(notices).toEqual([
      `a.evil.test stays refused: user/network.deny[0] denies it (${file}:3:19)`,
      `--read: ${fixture.workspace}/src lies in the workspace, which is visible anyway`,
      `/secret/x stays hidden: user/filesystem.deny[0] denies it (${file}:2:22)`,
    ]);
  });
});

describe('layers', () => {
  it('add up lists and let the command line override single values, never a profile', () => {
    using fixture = new PolicyFixture();
    fixture.user(
      'version: 1\nextends: [profile:git]\nlimits: { memory: 2GiB, pids: 50 }\nnetwork: { allow: [a.example.com] }\nprocess: { env: [{ set: { X: user } }] }\n',
    );
    const policy = policyOf(fixture, {
      profiles: ['node'],
      limits: { pids: '70' },
      allow: ['b.example.com', 'a.example.com'],
      env: ['X=line'],
    });
    expect(policy.limits).toMatchObject({
      memoryBytes: 2 ** 31,
      pids: 70,
      files: 4096,
      explicit: ['memory', 'pids'],
    });
    expect(hosts(policy)).toEqual([
      'registry.npmjs.org:443/https',
      'a.example.com:443/https',
      'b.example.com:443/https',
    ]);
    expect(policy.process.envSet['X']).toBe('line');
    expect(policy.filesystem.read.map((rule) => [rule.path, rule.optional])).toContainEqual([
      path.join(fixture.home, '.gitconfig'),
      true,
    ]);
  });

  it('follow files that a user policy extends, once, and name them in ids', () => {
    using fixture = new PolicyFixture();
    const { configDir } = fixture.context;
    fixture.write(
      path.join(configDir, 'team.yaml'),
      'version: 1\nnetwork: { allow: [team.example.com] }\nlimits: { pids: 5 }\n',
    );
    fixture.user(
      'version: 1\nextends: [./team.yaml, profile:default]\nlimits: { pids: 6 }\nnetwork: { allow: [{ id: mine, host: own.example.com }] }\n',
    );
    const policy = policyOf(fixture);
    expect(policy.network.allow.map((rule) => rule.id)).toEqual(['user/team.yaml/network.allow[0]', 'mine']);
    expect(policy.network.allow[0]?.origin).toEqual({
      layer: 'user',
      position: { file: path.join(configDir, 'team.yaml'), line: 2, column: 20 },
    });
    expect(policy.limits.pids).toBe(6);
  });

  it('refuse cycles, missing files, unknown profiles and shared ids', () => {
    using fixture = new PolicyFixture();
    const file = fixture.user('version: 1\nextends: [./policy.yaml]\n');
    expect(caught(() => policyOf(fixture)).message).toBe(
      `${file}:2:11: extends: found "./policy.yaml", expected a profile such as profile:node: it extends itself`,
    );
    fixture.user('version: 1\nextends: [./gone.yaml]\n');
    expect(caught(() => policyOf(fixture)).code).toBe('E_POLICY_NOT_FOUND');
    fixture.user('version: 1\nextends: [profile:pyton]\n');
    const unknown = caught(() => policyOf(fixture));
    expect([unknown.code, unknown.what, unknown.next]).toEqual([
      'E_PROFILE_UNKNOWN',
      `${file}:2:11: there is no profile "pyton"`,
      expect.stringContaining('Did you mean python?'),
    ]);
    fixture.user(
      'version: 1\nnetwork:\n  allow:\n    - { id: x, host: a.com }\n    - { id: x, host: b.com }\n',
    );
    expect(caught(() => policyOf(fixture)).message).toBe(
      `${file}:5:7: id: found "x", expected an id of its own: ${file}:4 has it already`,
    );
    fixture.user('version: 1\nnetwork:\n  allow:\n    - { host: a.com, tls: inspect, credential: gone }\n');
    expect(caught(() => policyOf(fixture)).message).toBe(
      `${file}:4:7: user/network.allow[0]: credential: found "gone", expected a name from \`credentials\`: none is defined`,
    );
  });

  it("take a policy named on the command line in place of the project's", () => {
    using fixture = new PolicyFixture();
    fixture.project('version: 1\n');
    const file = fixture.write(path.join(fixture.root, 'ci.yaml'), 'version: 1\nlimits: { pids: 9 }\n');
    const { policy, notices } = resolvePolicy(fixture.context, { policyFile: file });
    expect(notices).toEqual([]);
    expect(policy.limits).toMatchObject({ pids: 9, explicit: ['pids'] });
    expect(caught(() => policyOf(fixture, { policyFile: 'gone.yaml' })).code).toBe('E_POLICY_NOT_FOUND');
  });

  it('refuse files that others may write', () => {
    using fixture = new PolicyFixture();
    const file = fixture.user('version: 1\n');
    expect(policyOf(fixture).layers[1]?.state).toBe('used');
    chmodSync(file, 0o666);
    expect(caught(() => policyOf(fixture)).message).toBe(`cannot use ${file}: others may write it`);
  });
});

describe('protection', () => {
  it('covers the workspace and every other writable tree, and the home directory inside one', () => {
    using fixture = new PolicyFixture();
    const paths = policyOf(fixture, { write: ['/srv/out', fixture.home] }).filesystem.protect.map(
      (rule) => rule.path,
    );
    for (const root of [fixture.workspace, '/srv/out', fixture.home]) {
      expect(paths).toContain(path.join(root, '.bashrc'));
      expect(paths).toContain(path.join(root, '.vscode'));
    }
    expect(new Set(paths).size).toBe(paths.length);
  });

  it('is lifted by name, by a person', () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nfilesystem: { protect: ["!.vscode", "!.git/config", Makefile] }\n');
    const { filesystem } = policyOf(fixture);
    expect(filesystem.unprotect.map((rule) => rule.path)).toEqual([
      path.join(fixture.workspace, '.vscode'),
      path.join(fixture.workspace, '.git/config'),
    ]);
    const paths = filesystem.protect.map((rule) => rule.path);
    expect(paths).not.toContain(path.join(fixture.workspace, '.vscode'));
    expect(paths).toContain(path.join(fixture.workspace, 'Makefile'));
  });

  it('is not lifted under a wrong name, nor by the organisation', () => {
    using fixture = new PolicyFixture();
    const user = fixture.user('version: 1\nfilesystem: { protect: ["!.vscod"] }\n');
    expect(caught(() => policyOf(fixture)).message).toBe(
      `${user}:2:25: filesystem.protect[0]: found "!.vscod", expected "!" and the name of a built-in protection: there is none named ".vscod" (did you mean "!.vscode"?)`,
    );
    fixture.user('version: 1\n');
    fixture.organisation('version: 1\nfilesystem: { protect: ["!.vscode"] }\n');
    expect(caught(() => policyOf(fixture)).message).toContain(
      'the organisation policy is a ceiling: it lifts nothing',
    );
  });
});

describe('the workspace', () => {
  it.each([
    ['/', 'it is the whole machine'],
    ['/usr', 'it is a directory of the system'],
    ['/etc/ssl', 'it is a directory of the system'],
    ['/srv', 'it is a directory of the system'],
    ['~', 'it is your home directory'],
    ['~/..', 'lies in it'],
    ['~/.config', 'Glovebox keeps its own files in'],
    ['~/.config/glovebox/x', 'it is where Glovebox keeps its own files'],
    ['../../run', 'Glovebox keeps its own files in'],
    ['../../run/glovebox/scratch', 'it is where Glovebox keeps its own files'],
    ['gone', 'it does not exist'],
    ['/etc/passwd', 'it is not a directory'],
  ])('is not %s', (workspace, why) => {
    using fixture = new PolicyFixture();
    mkdirSync(path.join(fixture.context.configDir, 'x'));
    mkdirSync(path.join(fixture.root, 'run/glovebox/scratch'), { recursive: true });
    const error = caught(() => policyOf(fixture, { workspace }));
    expect(error.code).toBe('E_WORKSPACE_INVALID');
    expect(error.why).toContain(why);
  });

  it('may be a link, which is followed once and said', () => {
    using fixture = new PolicyFixture();
    symlinkSync(fixture.workspace, path.join(fixture.home, 'link'));
    const { policy, notices } = resolvePolicy(fixture.context, { workspace: '~/link' });
    expect(policy.filesystem.workspace).toBe(realpathSync(fixture.workspace));
    expect(notices).toEqual([`the workspace ${fixture.home}/link is really ${fixture.workspace}`]);
  });

  it('may be named by the user policy; relative paths then start there', () => {
    using fixture = new PolicyFixture();
    mkdirSync(path.join(fixture.home, 'other'));
    fixture.user('version: 1\nfilesystem: { workspace: { path: ~/other, writable: false }, deny: [.env] }\n');
    const { filesystem } = policyOf(fixture);
    expect(filesystem).toMatchObject({
      workspace: path.join(fixture.home, 'other'),
      workspaceWritable: false,
    });
    expect(filesystem.deny.at(-1)?.path).toBe(path.join(fixture.home, 'other/.env'));
    expect(policyOf(fixture, { workspace: '.' }).filesystem.workspace).toBe(fixture.workspace);
  });

  it('may not hold pattern characters when a pattern starts there', () => {
    using fixture = new PolicyFixture();
    const odd = path.join(fixture.home, 'my [app]');
    mkdirSync(odd);
    expect(policyOf(fixture, { workspace: odd }).filesystem.workspace).toBe(odd);
    fixture.user('version: 1\nfilesystem: { deny: ["**/*.pem"] }\n');
    expect(caught(() => policyOf(fixture, { workspace: odd })).message).toContain(
      'itself holds pattern characters',
    );
  });
});
