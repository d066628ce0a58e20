import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compileSeccomp } from './compile.ts';
import type { SyscallName } from './numbers.ts';
import { SYSCALL_NUMBERS } from './numbers.ts';
import type { SeccompOptions } from './rules.ts';
import { syscallRows } from './table.ts';

const here = import.meta.dirname;
const X64_HEADER = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h';
const GENERIC_HEADER = '/usr/include/asm-generic/unistd.h';

function found(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}
const nativeArch = process.arch === 'x64' || process.arch === 'arm64' ? process.arch : undefined;
const missing = ['bwrap', 'gcc'].filter((program) => !found(program));
const reason: string = nativeArch === undefined ? process.arch : missing.join(', ');

function syscall(name: string): SyscallName {
  for (const [known] of syscallRows()) if (known === name) return known;
  throw new Error(`${name} has no row in the table`);
}

function headerNumbers(text: string): Map<string, number> {
  return new Map([...text.matchAll(/^#define __NR_(\w+) (\d+)$/gm)].map((m) => [m[1] ?? '', Number(m[2])]));
}

describe('numbers against the headers of this machine', () => {
  test.skipIf(!existsSync(X64_HEADER))(`x86-64 (needs ${X64_HEADER})`, () => {
    const header = headerNumbers(readFileSync(X64_HEADER, 'utf8'));
    expect(header.size).toBeGreaterThan(300);
    for (const [name, nr] of header) expect(SYSCALL_NUMBERS[syscall(name)][0], name).toBe(nr);
  });

  test.skipIf(!existsSync(GENERIC_HEADER) || !found('gcc'))(`arm64 (needs ${GENERIC_HEADER} and gcc)`, () => {
    // arch/arm64/include/uapi/asm/unistd.h defines these before it includes the generic table.
    const wants = ['RENAMEAT', 'NEW_STAT', 'SET_GET_RLIMIT', 'TIME32_SYSCALLS', 'SYS_CLONE3', 'MEMFD_SECRET'];
    const source = [...wants.map((want) => `#define __ARCH_WANT_${want}`), '#define __BITS_PER_LONG 64'];
    const input = [...source, '#include <asm-generic/unistd.h>', ''].join('\n');
    const macros = execFileSync('gcc', ['-E', '-dM', '-'], { input, encoding: 'utf8' });
    const header = headerNumbers(macros);
    for (const [, name = '', value] of macros.matchAll(/^#define __NR_(\w+) __NR3264_(\w+)$/gm)) {
      header.set(name, Number(new RegExp(`^#define __NR3264_${value} (\\d+)$`, 'm').exec(macros)?.[1]));
    }
    for (const name of ['syscalls', 'arch_specific_syscall']) header.delete(name);
    expect(header.size).toBeGreaterThan(290);
    for (const [name, nr] of header) expect(SYSCALL_NUMBERS[syscall(name)][1], name).toBe(nr);
  });
});

describe.skipIf(reason !== '')(`in bubblewrap (missing: ${reason === '' ? 'nothing' : reason})`, () => {
  let dir = '';

  beforeAll(() => {
    dir = mkdtempSync(path.join(tmpdir(), 'glovebox-seccomp-'));
    execFileSync('gcc', ['-O1', '-o', path.join(dir, 'probe'), path.join(here, 'testdata/probe.c')]);
  });
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  function run(
    options: Partial<SeccompOptions>,
    command: readonly string[],
  ): { readonly status: number | null; readonly stdout: string; readonly stderr: string } {
    const full: SeccompOptions = {
      arch: nativeArch ?? 'x64',
      profile: 'default',
      nesting: false,
      ...options,
    };
    const file = path.join(dir, 'filter.bpf');
    writeFileSync(file, compileSeccomp(full));
    const fd = openSync(file, 'r');
    const view = [
      '--ro-bind',
      '/',
      '/',
      '--dev',
      '/dev',
      '--proc',
      '/proc',
      '--tmpfs',
      '/tmp',
      '--bind',
      dir,
      dir,
    ];
    const args = [
      '--unshare-all',
      '--die-with-parent',
      '--new-session',
      ...view,
      '--chdir',
      dir,
      '--seccomp',
      '3',
    ];
    const env = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: dir, LANG: 'C.UTF-8' };
    try {
      const stdio = ['ignore', 'pipe', 'pipe', fd] as const;
      return spawnSync('bwrap', [...args, ...command], {
        stdio: [...stdio],
        env,
        encoding: 'utf8',
        timeout: 50_000,
      });
    } finally {
      closeSync(fd);
    }
  }

  function probe(options: Partial<SeccompOptions>): Map<string, number> {
    const { stdout, status, stderr } = run(options, [path.join(dir, 'probe')]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return new Map(
      stdout
        .trim()
        .split('\n')
        .map((line) => {
          const at = line.lastIndexOf(' ');
          return [line.slice(0, at), Number(line.slice(at + 1))];
        }),
    );
  }

  const EPERM = 1;
  const ESRCH = 3;
  const ENOSYS = 38;
  const EAFNOSUPPORT = 97;

  test('the kernel answers as the table says', () => {
    const got = probe({});
    const passes = [
      'fchmod-0755',
      'mknod-fifo',
      'socket-unix',
      'socket-tcp',
      'socket-udp6',
      'socket-route',
      'unshare-files',
    ];
    const refused = [
      'fchmod-setuid',
      'fchmodat-setgid',
      'open-setuid',
      'mknod-device',
      'open_by_handle_at',
      'socket-raw',
      'bpf',
      'perf_event_open',
      'userfaultfd',
      'io_uring_setup',
      'keyctl',
      'add_key',
      'ptrace',
      'process_vm_readv',
      'unshare-user',
      'clone-user',
      'setns',
      'mount',
      'chroot',
      'syslog',
      'tiocsti',
      'tiocsti-high',
      'tioclinux',
    ];
    expect(Object.fromEntries(got)).toEqual({
      ...Object.fromEntries(passes.map((name) => [name, 0])),
      ...Object.fromEntries(refused.map((name) => [name, EPERM])),
      'socket-packet': EAFNOSUPPORT,
      'socket-vsock': EAFNOSUPPORT,
      'socket-alg': EAFNOSUPPORT,
      'socket-audit': 93,
      clone3: ENOSYS,
      unknown: ENOSYS,
      'x32 signal': 31,
    });
  });

  test('strict also refuses netlink, debug allows tracing, nesting allows namespaces', () => {
    expect(probe({ profile: 'strict' }).get('socket-route')).toBe(EAFNOSUPPORT);
    expect(probe({ profile: 'debug' }).get('ptrace')).toBe(ESRCH);
    expect(probe({ nesting: true }).get('unshare-user')).toBe(0);
  });

  const programs: readonly (readonly [
    name: string,
    needs: string,
    command: readonly string[],
    output: string,
  ])[] = [
    ['bash with a pipe and a job', 'bash', ['bash', '-c', 'set -m; sleep 0 & wait; echo a | tr a b'], 'b'],
    [
      'python threads, subprocess, tempfile, sockets',
      '/usr/bin/python3',
      ['/usr/bin/python3', '-c', PYTHON],
      'python ok',
    ],
    ['git init, commit, clone, gc', 'git', ['bash', '-c', GIT], 'git ok'],
    [
      'node with workers, child, files, watcher, server',
      process.execPath,
      [process.execPath, '-e', NODE],
      'node ok',
    ],
    ['gcc', 'gcc', ['bash', '-c', GCC], 'built'],
    ['tar round trip', 'tar', ['bash', '-c', TAR], '-rwxr-xr-x'],
  ];
  for (const profile of ['default', 'strict', 'debug'] as const) {
    for (const [name, needs, command, output] of programs) {
      test.skipIf(!found(needs))(`${profile}: ${name} (needs ${needs})`, () => {
        const { status, stdout, stderr } = run({ profile }, command);
        expect({ status, stdout: stdout.trim(), stderr: status === 0 ? '' : stderr }).toEqual({
          status: 0,
          stdout: output,
          stderr: '',
        });
      });
    }
  }
});

const PYTHON = `
import concurrent.futures, os, socket, subprocess, tempfile, threading, multiprocessing, asyncio
with concurrent.futures.ThreadPoolExecutor(4) as pool: assert sum(pool.map(abs, range(-100, 0))) == 5050
assert subprocess.run(["true"]).returncode == 0
with tempfile.TemporaryDirectory() as d:
    p = os.path.join(d, "f"); open(p, "w").write("x"); os.chmod(p, 0o755); os.rename(p, p + "2")
server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname()); client.sendall(b"x")
assert server.accept()[0].recv(1) == b"x"
def child(q): q.put(7)
q = multiprocessing.Queue(); p = multiprocessing.Process(target=child, args=(q,)); p.start(); assert q.get() == 7; p.join()
async def go():
    r = await asyncio.create_subprocess_exec("true"); return await r.wait()
assert asyncio.run(go()) == 0
print("python ok")
`;

const NODE = `
const { Worker } = require('node:worker_threads'); const fs = require('node:fs'); const net = require('node:net');
const { execFileSync } = require('node:child_process');
fs.mkdirSync('/tmp/w'); fs.writeFileSync('/tmp/w/a', 'x'); fs.chmodSync('/tmp/w/a', 0o755); fs.copyFileSync('/tmp/w/a', '/tmp/w/b');
execFileSync('true');
const watcher = fs.watch('/tmp/w', () => {}); watcher.close();
new Worker('require("node:worker_threads").parentPort.postMessage(1)', { eval: true }).once('message', () => {
  const server = net.createServer((s) => s.end('hi')).listen(0, '127.0.0.1', () => {
    net.connect(server.address().port, '127.0.0.1').on('data', () => { server.close(); console.log('node ok'); });
  });
});
`;

const GIT = `set -e; rm -rf repo copy; git init -q repo; cd repo; git config user.email a@b; git config user.name a
echo x > f; chmod 755 f; git add f; git commit -qm one; git gc -q; cd ..; git clone -q repo copy; test -x copy/f; echo git ok`;

const GCC = `set -e; cd /tmp; printf '#include <stdio.h>\\nint main(void){puts("built");}' > a.c; gcc a.c -o a; ./a`;

const TAR = `set -e; cd /tmp; mkdir t; echo x > t/f; chmod 755 t/f; mkfifo t/p; tar cf t.tar t; rm -r t; tar xf t.tar; stat -c %A t/f`;
