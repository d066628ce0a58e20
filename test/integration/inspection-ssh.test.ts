import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { userInfo } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandResult, Sandbox } from '../../src/index.ts';
import { until } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { GitOrigin, IDENTITY } from '../support/git-origin.ts';
import { expectRecord, inside, inspected, missing, recorded } from '../support/inspection.ts';
import { newDir, RealServer } from '../support/servers.ts';
import { isRoot } from '../support/users.ts';
import { expectNothingLeft } from '../support/tree.ts';

const FORGE = 'forge.example.test';
const STRANGE = 'strange.example.test';
const SSHD = '/usr/sbin/sshd';

/** An ordinary user without an entry in the host's list of users cannot log in. */
function loginName(): string | undefined {
  try {
    return userInfo().username;
  } catch {
    return undefined;
  }
}

const LOGIN = loginName();
const MISSING =
  missing('ssh', 'ssh-agent', 'git', SSHD) || (LOGIN === undefined ? ' (skipped: no login name)' : '');

describe.skipIf(MISSING !== '')(`ssh with lent keys${MISSING}`, () => {
  let dir: string;
  let agent: ChildProcess;
  let servers: readonly RealServer[] = [];
  let box: TestBox;
  let sandbox: Sandbox;
  let origin: GitOrigin;

  const at = (name: string): string => path.join(dir, name);
  const fingerprint = (name: string): string =>
    execFileSync('ssh-keygen', ['-lf', at(`${name}.pub`)], { encoding: 'utf8' }).split(' ')[1] ?? '';

  /** A server with a host key of its own, which lets both keys in. */
  function startSshd(host: string): Promise<RealServer> {
    return RealServer.start(newDir(), (port) => {
      const lines = [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${at(host)}`,
        'StrictModes no',
        'UsePAM no',
      ];
      lines.push(
        `AuthorizedKeysFile ${at('authorized')}`,
        'PasswordAuthentication no',
        'PermitRootLogin yes',
      );
      lines.push(`PidFile ${at(`${host}.pid`)}`, 'KbdInteractiveAuthentication no');
      writeFileSync(at(`${host}.conf`), `${lines.join('\n')}\n`);
      return [SSHD, '-D', '-f', at(`${host}.conf`)];
    });
  }

  beforeAll(async () => {
    dir = newDir();
    origin = new GitOrigin();
    for (const name of ['forge', 'strange', 'work', 'private'])
      execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', name, '-f', at(name)]);
    writeFileSync(
      at('authorized'),
      ['work', 'private'].map((name) => readFileSync(at(`${name}.pub`), 'utf8')).join(''),
    );
    if (isRoot) mkdirSync('/run/sshd', { recursive: true });
    agent = spawn('ssh-agent', ['-D', '-a', at('agent.sock')], { stdio: 'ignore' });
    await until(() => existsSync(at('agent.sock')), 'the agent');
    for (const key of ['work', 'private'])
      expect(
        spawnSync('ssh-add', ['-q', at(key)], { env: { ...process.env, SSH_AUTH_SOCK: at('agent.sock') } })
          .status,
      ).toBe(0);
    servers = await Promise.all(['forge', 'strange'].map(startSshd));
    box = new TestBox();
    const rule = { ports: [22], protocol: 'ssh', hostKeys: [fingerprint('forge')], keys: ['work'] };
    sandbox = await inspected(box, {
      rules: [
        { ...rule, id: 'forge', host: FORGE },
        { ...rule, id: 'strange', host: STRANGE },
      ],
      sites: { [FORGE]: servers[0]?.port ?? 0, [STRANGE]: servers[1]?.port ?? 0 },
      hostEnv: { SSH_AUTH_SOCK: at('agent.sock') },
      more: { envs: { ...IDENTITY, GIT_SSH_COMMAND: SSH.join(' ') } },
    });
  }, 60_000);

  afterAll(async () => {
    await sandbox?.kill();
    await expectNothingLeft(box);
    for (const server of servers) await server[Symbol.asyncDispose]();
    agent?.kill();
    if (agent?.exitCode === null && agent.signalCode === null) await once(agent, 'exit');
    // The lent agent's socket goes with the sandbox.
    expect(readdirSync(path.join(box.base, 'run/glovebox/agents'))).toEqual([]);
    box?.[Symbol.dispose]();
    origin?.[Symbol.dispose]();
    execFileSync('rm', ['-rf', dir]);
  });

  const SSH = ['ssh', '-F', 'none', '-o', 'StrictHostKeyChecking=accept-new', '-o', 'BatchMode=yes'];
  const ssh = (host: string, ...command: string[]): Promise<CommandResult> =>
    inside(sandbox, [...SSH, `${LOGIN ?? ''}@${host}`, ...command]);

  it('logs in with the key that the rule names, which is never inside', async () => {
    const got = await ssh(FORGE, 'echo', 'over there');
    expect(got.exitCode, got.stderr).toBe(0);
    expect(got.stdout).toBe('over there\n');
    const keys = await inside(sandbox, ['ssh-add', '-l']);
    expect(keys.stdout).toContain(fingerprint('work'));
    expect(keys.stdout).not.toContain(fingerprint('private'));
    expect((await inside(sandbox, ['printenv', 'SSH_AUTH_SOCK'])).stdout).toBe('/.glovebox/ssh-agent.sock\n');
    await expectRecord(box, 'network.verdict', { action: 'allow', rule: 'forge', host: FORGE, port: 22 });
    const signed = { action: 'allow', hostKey: fingerprint('forge'), key: fingerprint('work') };
    await expectRecord(box, 'credential.signed', signed);
  });

  it('signs nothing for a host whose key no rule names', async () => {
    const got = await ssh(STRANGE, 'true');
    expect(got.exitCode).toBe(255);
    expect(got.stderr).toMatch(/Permission denied|agent refused operation/);
    await expectRecord(box, 'credential.signed', { action: 'deny', hostKey: fingerprint('strange') });
  });

  it('git clones and pushes over ssh', async () => {
    const url = `ssh://${LOGIN ?? ''}@${FORGE}${origin.dir}/repo.git`;
    const script = `set -e; git clone --quiet ${url} one; cd one; echo x > inside; git add .; git commit --quiet -m inside; git push --quiet origin main`;
    const got = await inside(sandbox, ['bash', '-c', script]);
    expect(got.exitCode, got.stderr).toBe(0);
    expect(origin.log()).toEqual(['inside', 'first']);
    const passed = recorded(box, 'credential.signed').filter((data) => data['action'] === 'allow');
    expect(passed.length).toBeGreaterThanOrEqual(2);
  });

  it('lets nothing but SSH through', async () => {
    const script = `exec 3<>/dev/tcp/${FORGE}/22; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3 | head -c 100`;
    const got = await inside(sandbox, ['bash', '-c', script]);
    expect(got.stdout).toBe('');
    await expectRecord(box, 'network.verdict', { action: 'deny', host: FORGE, rule: 'structural.ssh' });
  });
});
