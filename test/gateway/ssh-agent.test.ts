import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SshAgentBroker } from '../../src/gateway/ssh-agent.ts';
import type { SignRecord } from '../../src/gateway/ssh-agent.ts';
import { sshString } from '../../src/net/ssh-wire.ts';

const SSHD = '/usr/sbin/sshd';
const missing = ['/usr/bin/ssh', '/usr/bin/ssh-agent', SSHD].filter((file) => !existsSync(file));

/** A real sshd with two host keys on two ports, a real agent with two keys, and the broker between. */
describe.skipIf(missing.length > 0)(
  `ssh agent broker${missing.length > 0 ? ` (missing: ${missing.join(', ')})` : ''}`,
  () => {
    const dir = mkdtempSync(path.join(tmpdir(), 'gb-ssh-'));
    const at = (name: string): string => path.join(dir, name);
    const records: SignRecord[] = [];
    const children: ChildProcess[] = [];
    const ports: number[] = [];
    let broker: SshAgentBroker;

    const through = (socket: string): NodeJS.ProcessEnv => ({ ...process.env, SSH_AUTH_SOCK: at(socket) });

    const fingerprint = (name: string): string =>
      execFileSync('ssh-keygen', ['-lf', at(`${name}.pub`)], { encoding: 'utf8' }).split(' ')[1] ?? '';

    const ssh = (port: number, ...more: string[]): Promise<Ended> => {
      const options = [
        '-F',
        'none',
        '-o',
        `IdentityAgent=${at('broker.sock')}`,
        '-o',
        'StrictHostKeyChecking=no',
        '-o',
        `UserKnownHostsFile=${at('known')}`,
        '-o',
        'BatchMode=yes',
        '-o',
        'IdentityFile=none',
        '-o',
        'ConnectTimeout=10',
      ];
      return run('ssh', [
        ...options,
        ...more,
        '-p',
        String(port),
        `${userInfo().username}@127.0.0.1`,
        'echo inside',
      ]);
    };

    beforeAll(async () => {
      for (const name of ['host1', 'host2', 'good', 'other'])
        execFileSync('ssh-keygen', [
          '-q',
          '-t',
          name === 'host2' ? 'ecdsa' : 'ed25519',
          '-N',
          '',
          '-C',
          name,
          '-f',
          at(name),
        ]);
      writeFileSync(
        at('authorized'),
        readFileSync(at('good.pub'), 'utf8') + readFileSync(at('other.pub'), 'utf8'),
      );
      if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true });
      children.push(spawn('ssh-agent', ['-D', '-a', at('agent.sock')], { stdio: 'ignore' }));
      await until(() => existsSync(at('agent.sock')));
      for (const key of ['good', 'other'])
        execFileSync('ssh-add', ['-q', at(key)], {
          env: { ...process.env, SSH_AUTH_SOCK: at('agent.sock') },
        });
      for (const host of ['host1', 'host2']) ports.push(await startSshd(host));
      broker = await SshAgentBroker.listen({
        path: at('broker.sock'),
        upstream: at('agent.sock'),
        grants: [{ hostKeys: [fingerprint('host1')], keys: ['good'] }],
        onSign: (record) => records.push(record),
      });
    });

    afterAll(async () => {
      await broker?.close();
      for (const child of children) child.kill();
      rmSync(dir, { recursive: true, force: true });
    });

    async function startSshd(host: string): Promise<number> {
      const port = await freePort();
      const config = [
        `Port ${port}`,
        'ListenAddress 127.0.0.1',
        `HostKey ${at(host)}`,
        `AuthorizedKeysFile ${at('authorized')}`,
        'StrictModes no',
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'UsePAM no',
        'PermitRootLogin yes',
        `PidFile ${at(`${host}.pid`)}`,
      ];
      writeFileSync(at(`${host}.conf`), `${config.join('\n')}\n`);
      children.push(spawn(SSHD, ['-D', '-f', at(`${host}.conf`)], { stdio: 'ignore' }));
      await until(() => answers(port));
      return port;
    }

    it('logs in at the host whose key a rule names', async () => {
      records.length = 0;
      const { status, text } = await ssh(ports[0] ?? 0);
      expect(text).toContain('inside');
      expect(status).toBe(0);
      expect(records).toMatchObject([
        { action: 'allow', hostKey: fingerprint('host1'), key: fingerprint('good') },
      ]);
    });

    it('signs nothing for another host key', async () => {
      records.length = 0;
      const { status, text } = await ssh(ports[1] ?? 0);
      expect(status).not.toBe(0);
      expect(text).not.toContain('inside');
      expect(records).toMatchObject([
        { action: 'deny', reason: 'no rule names this host key', hostKey: fingerprint('host2') },
      ]);
    });

    it('shows only the keys that rules name', async () => {
      const { text: list } = await run('ssh-add', ['-l'], through('broker.sock'));
      expect(list).toContain('good');
      expect(list).not.toContain('other');
    });

    it('signs no files and no commits', async () => {
      records.length = 0;
      writeFileSync(at('doc'), 'text');
      const signed = await run(
        'ssh-keygen',
        ['-Y', 'sign', '-n', 'git', '-f', at('good.pub'), at('doc')],
        through('broker.sock'),
      );
      expect(signed.status).not.toBe(0);
      expect(records).toMatchObject([{ action: 'deny', reason: 'only logins are signed, and this is none' }]);
    });

    it('does not let itself be changed: add, remove, lock', async () => {
      expect((await run('ssh-add', ['-D'], through('broker.sock'))).status).not.toBe(0);
      expect((await run('ssh-add', ['-q', at('other')], through('broker.sock'))).status).not.toBe(0);
      const { text } = await run('ssh-add', ['-l'], through('agent.sock'));
      expect(text.trim().split('\n')).toHaveLength(2);
    });

    it('refuses a login in a session that no host has signed', async () => {
      records.length = 0;
      const keyBlob = Buffer.from(readFileSync(at('good.pub'), 'utf8').split(' ')[1] ?? '', 'base64');
      const login = Buffer.concat([
        sshString(Buffer.alloc(32, 7)),
        Buffer.of(50),
        ...['root', 'ssh-connection', 'publickey'].map((word) => sshString(word)),
        Buffer.of(1),
        sshString('ssh-ed25519'),
        sshString(keyBlob),
      ]);
      const request = Buffer.concat([Buffer.of(13), sshString(keyBlob), sshString(login), Buffer.alloc(4)]);
      expect(await exchange(sshString(request))).toEqual(sshString(Buffer.of(5)));
      expect(records).toMatchObject([
        { action: 'deny', reason: expect.stringContaining('no host has signed') },
      ]);
    });

    it('refuses a binding whose signature is made up', async () => {
      const hostKey = Buffer.from(readFileSync(at('host1.pub'), 'utf8').split(' ')[1] ?? '', 'base64');
      const forged = Buffer.concat([sshString('ssh-ed25519'), sshString(Buffer.alloc(64, 1))]);
      const bind = Buffer.concat([
        Buffer.of(27),
        sshString('session-bind@openssh.com'),
        sshString(hostKey),
        sshString(Buffer.alloc(32, 7)),
        sshString(forged),
        Buffer.of(0),
      ]);
      expect(await exchange(sshString(bind))).toEqual(sshString(Buffer.of(5)));
    });

    it('lends what another policy says from then on', async () => {
      records.length = 0;
      const before = [{ hostKeys: [fingerprint('host1')], keys: ['good'] }];
      broker.replace([{ hostKeys: [fingerprint('host2')], keys: ['good'] }]);
      expect((await ssh(ports[0] ?? 0)).status).not.toBe(0);
      expect(records).toMatchObject([{ action: 'deny', reason: 'no rule names this host key' }]);
      broker.replace([]);
      expect((await run('ssh-add', ['-l'], through('broker.sock'))).text).not.toContain('good');
      broker.replace(before);
      expect((await ssh(ports[0] ?? 0)).status).toBe(0);
    });

    it('ends a connection that announces an impossible length', async () => {
      expect(await exchange(Buffer.of(0xff, 0xff, 0xff, 0xff, 1))).toEqual(Buffer.alloc(0));
    });

    async function exchange(bytes: Buffer): Promise<Buffer> {
      const socket = connect(at('broker.sock'));
      socket.write(bytes);
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        socket.end();
      });
      await once(socket, 'close');
      return Buffer.concat(chunks);
    }
  },
);

interface Ended {
  readonly status: number | null;
  readonly text: string;
}

/** The broker lives in this process, so nothing here may block it. */
async function run(
  file: string,
  argv: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<Ended> {
  const child = spawn(file, argv, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (text += String(chunk)));
  await once(child, 'close');
  return { status: child.exitCode, text };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

async function until(test: () => boolean | Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) {
    if (await test()) return;
    await sleep(50);
  }
  throw new Error('it did not come up');
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
