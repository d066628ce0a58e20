import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import dgram from 'node:dgram';
import net from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandError } from './start-error.ts';
import {
  JAIL_ENV,
  JailSite,
  collect,
  identities,
  jailMissing,
  processesNaming,
  until,
} from './jail.fixture.ts';
import type { AgentProcess, ExecSpec } from './contract.ts';

const missing = jailMissing();

/** The UDP handle that Node hands over is not in its type definitions; `bind` takes it. */
interface HandleSocket {
  bind(handle: unknown, done: () => void): void;
}

for (const { name: who, identity } of identities()) {
  describe.skipIf(missing !== undefined)(`a jail run by ${who} (${missing ?? 'ready'})`, () => {
    let site: JailSite;
    beforeAll(() => {
      site = new JailSite(identity);
    });
    afterAll(() => {
      site.remove();
      expect(processesNaming(site.base)).toEqual([]);
    });

    const bash = (script: string, more: Partial<ExecSpec> = {}): ExecSpec => ({
      argv: ['bash', '-c', script],
      env: JAIL_ENV,
      cwd: site.workspace,
      ...more,
    });

    it('connects any address to the listeners of the host', async () => {
      const script =
        'exec 3<>/dev/tcp/93.184.216.34/443; cat <&3; exec 4<>/dev/tcp/2606:2800:220:1::1/443; cat <&4';
      const jail = await site.launch(
        { mode: 'oneshot', exec: bash(script) },
        { network: true, listeners: [{ id: 9, proto: 'tcp', port: 443 }] },
      );
      const seen: string[] = [];
      const server = net.createServer((socket) => {
        seen.push(`${socket.localAddress} ${socket.localPort}`);
        socket.end('hello\n');
      });
      server.listen(jail.listeners.get(9));
      expect(await collect(jail.session.main.stdout)).toBe(jail.ready.ipv6 ? 'hello\nhello\n' : 'hello\n');
      expect(seen[0]).toBe(jail.ready.ipv6 ? '::ffff:93.184.216.34 443' : '93.184.216.34 443');
      server.close();
      await jail.exited;
    });

    it('refuses a port without a listener at once', async () => {
      const exec = bash('exec 3<>/dev/tcp/93.184.216.34/22');
      const jail = await site.launch({ mode: 'oneshot', exec }, { network: true });
      expect(await collect(jail.session.main.stderr)).toContain('Connection refused');
      expect((await jail.session.main.exit).status).toBe(1);
      await jail.exited;
    });

    it('hands over a UDP socket', async () => {
      const exec = bash('exec 3<>/dev/udp/9.9.9.9/53; echo ping >&3; head -c 4 <&3');
      const listeners = [{ id: 1, proto: 'udp', port: 53 }] as const;
      const jail = await site.launch({ mode: 'oneshot', exec }, { network: true, listeners });
      const socket = dgram.createSocket('udp6');
      socket.on('message', (data, from) => socket.send(`got ${data.toString()}`, from.port, from.address));
      const bindable: HandleSocket = socket;
      bindable.bind(jail.listeners.get(1), () => undefined);
      const output = await Promise.race([
        collect(jail.session.main.stdout),
        jail.session.closed.then(() => 'closed'),
      ]);
      socket.close();
      expect(output).toBe('got ');
      await jail.exited;
    });

    it('has no capability and cannot change the network', async () => {
      const result = await site.shell(
        'grep -E "Cap(Prm|Eff|Inh)|NoNewPrivs" /proc/self/status; unshare -Ur true; ls -l /proc/self/fd | wc -l',
      );
      expect(result.stdout).toMatch(/CapInh:\s0{16}\nCapPrm:\s0{16}\nCapEff:\s0{16}\nNoNewPrivs:\s1/);
      expect(result.stderr).toContain('unshare');
      // total, 0, 1, 2 and the directory itself
      expect(result.stdout.trim().split('\n').at(-1)).toBe('5');
    });

    it('tells the exit status, the signal and why a command did not start', async () => {
      expect((await site.shell('exit 7')).status).toBe(7);
      const serve = await site.launch({ mode: 'serve' });
      const killed = serve.session.exec(bash('kill -9 $$'));
      expect(await killed.exit).toMatchObject({ status: 137, signal: 9 });
      const absent = await serve.session.exec({ argv: ['no-such-program'], env: JAIL_ENV, cwd: '/' }).exit;
      expect(absent).toMatchObject({ status: 127, refused: { stage: 'exec' } });
      expect(commandError(absent, 'no-such-program')?.code).toBe('E_COMMAND_NOT_FOUND');
      const plain = await serve.session.exec({ argv: ['/usr/lib/os-release'], env: JAIL_ENV, cwd: '/' }).exit;
      expect(commandError(plain, 'os-release')?.code).toBe('E_COMMAND_NOT_EXECUTABLE');
      const nowhere = await serve.session.exec({ argv: ['true'], env: JAIL_ENV, cwd: '/nowhere' }).exit;
      expect(nowhere).toMatchObject({ status: 125, refused: { stage: 'chdir' } });
      await serve.session.shutdown(100);
      expect((await serve.exited).code).toBe(0);
    });

    it('keeps stdout and stderr apart and moves megabytes both ways', async () => {
      const serve = await site.launch({ mode: 'serve' });
      const cat = serve.session.exec(bash('cat; echo done >&2', { stdio: ['pipe', 'pipe', 'pipe'] }));
      const data = Buffer.alloc(5 * 1024 * 1024, 'glovebox ');
      cat.stdin.end(data);
      const [stdout, stderr] = await Promise.all([collect(cat.stdout), collect(cat.stderr)]);
      expect(stdout.length).toBe(data.length);
      expect(stdout === data.toString()).toBe(true);
      expect(stderr).toBe('done\n');
      await serve.session.shutdown(100);
      await serve.exited;
    });

    it('stops a command whose output nobody reads, and lets others go on', async () => {
      const serve = await site.launch({ mode: 'serve' });
      const noisy = serve.session.exec(bash('yes & sleep 60'));
      const quiet = serve.session.exec(bash('echo fine'));
      expect(await collect(quiet.stdout)).toBe('fine\n');
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(noisy.stdout.readableLength).toBeLessThanOrEqual(256 * 1024);
      noisy.abandon();
      expect(await noisy.exit).toMatchObject({ signal: 9 });
      await serve.session.shutdown(0);
      await serve.exited;
    });

    it('gives a terminal with a size, signals and end of file', async () => {
      const serve = await site.launch({ mode: 'serve' });
      const stdio = ['pty', 'pty', 'pty'] as const;
      const terminal = { rows: 40, cols: 100 };
      const script = 'tty; stty size; echo ready; read x; echo "got $x"; stty size; cat';
      const shell = serve.session.exec(bash(script, { stdio, terminal }));
      let text = '';
      shell.stdout.on('data', (data: Buffer) => (text += data.toString().replaceAll('\r', '')));
      expect(await until(() => text.includes('ready'))).toBe(true);
      shell.resize(41, 101);
      shell.stdin.end('abc\n');
      expect(await shell.exit).toMatchObject({ status: 0 });
      expect(text).toBe('/dev/pts/0\n40 100\nready\nabc\ngot abc\n41 101\n');
      const stuck = serve.session.exec(bash('echo up; exec sleep 60', { stdio, terminal }));
      await new Promise((resolve) => stuck.stdout.once('data', resolve));
      stuck.stdin.write('\u0003');
      expect(await stuck.exit).toMatchObject({ signal: 2, status: 130 });
      await serve.session.shutdown(0);
      await serve.exited;
    });

    it('says EXIT while a background process keeps the pipe, then ends the stream when it is gone', async () => {
      const serve = await site.launch({ mode: 'serve' });
      const command = serve.session.exec(bash('sleep 60 & echo started; exit 4'));
      expect(await command.exit).toMatchObject({ status: 4 });
      let ended = false;
      command.stdout.once('end', () => (ended = true)).resume();
      await serve.session.ping();
      expect(ended).toBe(false);
      serve.session.signalAll(9);
      expect(await until(() => ended)).toBe(true);
      await serve.session.shutdown(0);
      await serve.exited;
    });

    it('ends what a one-shot command left behind', async () => {
      const result = await site.shell('(setsid sleep 61 &) ; echo over');
      expect(result).toEqual({ stdout: 'over\n', stderr: '', status: 0 });
    });

    it('dials a port inside and resets when nothing listens', async () => {
      const serve = await site.launch({ mode: 'serve' });
      const script =
        'use IO::Socket::INET;$s=IO::Socket::INET->new(Listen=>5,LocalAddr=>"127.0.0.1",LocalPort=>8123)or die;$|=1;print"up\\n";while($c=$s->accept){print $c "echo ".<$c>;close $c}';
      const server = serve.session.exec({ argv: ['perl', '-e', script], env: JAIL_ENV, cwd: '/' });
      await new Promise((resolve) => server.stdout.once('data', resolve));
      const connection = await serve.session.dial(8123);
      connection.write('hi\n');
      expect(await collect(connection)).toBe('echo hi\n');
      connection.end();
      await expect(serve.session.dial(8124)).rejects.toMatchObject({ code: 'E_IO' });
      await serve.session.shutdown(0);
      await serve.exited;
    });

    it('passes stdio straight through in one-shot mode', async () => {
      const exec = bash('read line; echo "out $line"; echo err >&2', {
        stdio: ['inherit', 'inherit', 'inherit'],
      });
      const jail = await site.launch({ mode: 'oneshot', exec }, {}, { stdio: ['pipe', 'pipe', 'pipe'] });
      const { stdin, stdout, stderr } = jail.child;
      if (stdin === null || stdout === null || stderr === null) throw new Error('no pipes');
      stdin.end('line\n');
      expect(await Promise.all([collect(stdout), collect(stderr)])).toEqual(['out line\n', 'err\n']);
      expect((await jail.exited).code).toBe(0);
    });

    it('shuts down with TERM, and with KILL after the grace', async () => {
      const serve = await site.launch({ mode: 'serve' });
      const polite = serve.session.exec(bash('trap "exit 3" TERM; echo up; while :; do sleep 0.05; done'));
      const deaf = serve.session.exec(bash('trap "" TERM; echo up; while :; do sleep 0.05; done'));
      const up = (process: AgentProcess): Promise<unknown> =>
        new Promise((resolve) => process.stdout.once('data', resolve));
      await Promise.all([up(polite), up(deaf)]);
      await serve.session.shutdown(300);
      expect(await polite.exit).toMatchObject({ status: 3 });
      expect(await deaf.exit).toMatchObject({ signal: 9 });
      expect((await serve.exited).code).toBe(0);
    });

    it('applies limits, Landlock and seccomp to commands', async () => {
      const limits = [{ resource: 7, soft: 64n, hard: 64n }];
      const rules = [
        { path: '/', access: 0xdn },
        { path: '/dev', access: 0xffffn },
        { path: '/absent', access: 0xffffn, optional: true },
      ];
      // ld nr; jeq mkdir (83 on x86_64, mkdirat 34 on arm64) -> EPERM; allow
      const number = process.arch === 'x64' ? 83 : 34;
      const program = [
        [0x20, 0, 0, 0],
        [0x15, 0, 1, number],
        [0x06, 0, 0, 0x00050001],
        [0x06, 0, 0, 0x7fff0000],
      ];
      const seccomp = Buffer.concat(
        program.map(([code = 0, jt = 0, jf = 0, k = 0]) => {
          const instruction = Buffer.alloc(8);
          instruction.writeUInt16LE(code, 0);
          instruction.writeUInt8(jt, 2);
          instruction.writeUInt8(jf, 3);
          instruction.writeUInt32LE(k, 4);
          return instruction;
        }),
      );
      const script = 'ulimit -n; touch new && echo created; grep Seccomp: /proc/self/status; mkdir /tmp/x';
      const result = await site.shell(script, [], {
        limits,
        seccomp,
        landlock: { mode: 'best-effort', rules },
      });
      expect(result.stdout).toMatch(/^64\nSeccomp:\s2\n$/);
      expect(result.stderr).toMatch(/touch: .*Permission denied\nmkdir: .*Operation not permitted/);
    });

    it('keeps the inside stage closed to the commands', async () => {
      const result = await site.shell(
        'readlink /proc/1/exe /proc/1/fd/4; cat /proc/1/environ /proc/1/mem; ls /proc/1/root; kill -9 1; echo still $?',
      );
      expect(result.stdout).toBe('still 0\n');
      expect(result.stderr.match(/denied/g)?.length).toBe(3);
    });

    it('writes scratch files where only bubblewrap can read them', async () => {
      const files = [{ name: 'etc/passwd', mode: 0o644, content: 'me:x:1000:1000::/:/bin/sh\n' }];
      const scratch = site.directory('scratch-files');
      const extra = ['--ro-bind', path.join(scratch, 'etc/passwd'), '/etc/passwd'];
      const exec = bash('cat /etc/passwd');
      const jail = await site.launch(
        { mode: 'oneshot', exec },
        { scratch, files, argv: site.argv({ extra }) },
      );
      expect(await collect(jail.session.main.stdout)).toBe('me:x:1000:1000::/:/bin/sh\n');
      await jail.exited;
    });

    it('refuses a directory as a standard descriptor', async () => {
      const { openSync, closeSync } = await import('node:fs');
      const fd = openSync(site.workspace, 'r');
      const exec = bash('true', { stdio: ['inherit', 'null', 'null'] });
      await expect(
        site.launch({ mode: 'oneshot', exec }, {}, { stdio: [fd, 'ignore', 'ignore'] }),
      ).rejects.toMatchObject({
        code: 'E_SANDBOX_START',
        message: expect.stringContaining('a directory may not enter'),
      });
      closeSync(fd);
    });

    it('hides, freezes and pins', async () => {
      const root = site.workspace;
      for (const file of ['secret', 'frozen', 'pinned']) writeFileSync(path.join(root, file), `${file}\n`);
      site.directory('ws/dir');
      writeFileSync(path.join(root, 'dir/inner'), 'inner\n');
      symlinkSync('frozen', path.join(root, 'link'));
      for (const file of ['secret', 'frozen', 'pinned', 'dir/inner']) site.own(path.join(root, file));
      const at = (name: string): string => path.join(root, name);
      const result = await site.shell(
        `cat secret; chmod 644 secret; rm -f secret; mv secret s; echo x >frozen; rm frozen; echo x >>pinned && echo wrote; mv pinned p;
         rm link; mv link l; ln -sfn other link; readlink link; ls dir; mv dir d; rm -rf dir; : > dir/x`,
        [
          { kind: 'hide', root, path: 'secret', expect: 'file' },
          { kind: 'readonly', root, path: 'frozen' },
          { kind: 'pin', root, path: 'pinned' },
          { kind: 'pin', root, path: 'link', expect: 'symlink' },
          { kind: 'hide', root, path: 'dir', expect: 'dir' },
          { kind: 'readonly', root, path: 'gone', missing: 'skip' },
        ],
        {
          verify: [
            { kind: 'hidden', path: at('secret') },
            { kind: 'readonly', path: at('frozen') },
            { kind: 'pinned', path: at('pinned') },
            { kind: 'pinned', path: at('link') },
            { kind: 'hidden', path: at('dir') },
          ],
        },
      );
      expect(result.stdout).toBe('wrote\nfrozen\n');
      expect(result.stderr.match(/busy/g)?.length).toBeGreaterThanOrEqual(7);
      expect(readFileSync(at('secret'), 'utf8')).toBe('secret\n');
      expect(readFileSync(at('frozen'), 'utf8')).toBe('frozen\n');
      expect(readFileSync(at('pinned'), 'utf8')).toBe('pinned\nx\n');
      expect(readFileSync(at('dir/inner'), 'utf8')).toBe('inner\n');
    });

    it('refuses to start when a path is not what the host saw', async () => {
      const root = site.workspace;
      symlinkSync('/etc', path.join(root, 'elsewhere'));
      writeFileSync(path.join(root, 'plain'), '');
      const refuse = async (mask: { path: string; expect?: 'dir' }): Promise<unknown> =>
        site.launch({ mode: 'serve' }, { masks: [{ kind: 'hide', root, ...mask }] });
      await expect(refuse({ path: 'plain', expect: 'dir' })).rejects.toMatchObject({ code: 'E_MASK_LOST' });
      await expect(refuse({ path: 'elsewhere/passwd' })).rejects.toMatchObject({ code: 'E_MASK_LOST' });
      await expect(refuse({ path: 'absent' })).rejects.toMatchObject({ code: 'E_MASK_LOST' });
      const unmasked = await site.launch({
        mode: 'serve',
        verify: [{ kind: 'hidden', path: path.join(root, 'plain') }],
      });
      await expect(unmasked.session.hello).rejects.toMatchObject({ code: 'E_MASK_LOST' });
      await unmasked.exited;
    });
  });
}
