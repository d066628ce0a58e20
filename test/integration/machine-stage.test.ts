import { once } from 'node:events';
import { chownSync, mkdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBootSpec } from '../../src/agent/boot.ts';
import type { AgentExit, BootSpec, ExecSpec } from '../../src/agent/contract.ts';
import { encodeFrame } from '../../src/agent/frames.ts';
import { collect } from '../../src/agent/jail.fixture.ts';
import { encodeMachineSpec, machineReady } from '../../src/agent/machine.ts';
import type { MachineMount, MachineSpec } from '../../src/agent/machine-contract.ts';
import { FRAME } from '../../src/agent/numbers.ts';
import { AgentSession } from '../../src/agent/session.ts';
import type { ListenerSpec } from '../../src/gateway/contract.ts';
import { Relay, createRelayServer } from '../../src/gateway/relay.ts';
import {
  MACHINE_MOUNTS,
  MachineSite,
  machineMissing,
  machineSpec,
  shareMissing,
} from '../support/machine.ts';
import type { BootOptions, Machine } from '../support/machine.ts';

const missing = machineMissing();
const ENV = { PATH: '/usr/bin' };

let site: MachineSite;
beforeAll(async () => {
  if (missing === undefined) site = await MachineSite.make();
});
afterAll(() => site?.remove());

const shell = (script: string): ExecSpec => ({ argv: ['bash', '-c', script], env: ENV, cwd: '/tmp' });

interface Running {
  readonly machine: Machine;
  readonly session: AgentSession;
  /** What the machine told of besides. */
  readonly seen: { outOfMemory: number };
}

/** Boots a machine and tells it everything. */
async function start(
  spec: Partial<MachineSpec> = {},
  boot: BootSpec = { mode: 'serve' },
  options: BootOptions = {},
): Promise<Running> {
  const machine = await site.boot(options);
  await machineReady(machine.channel);
  const seen = { outOfMemory: 0 };
  const session = new AgentSession(machine.channel, {
    airlock: false,
    oneshot: boot.mode === 'oneshot',
    onOutOfMemory: () => (seen.outOfMemory += 1),
  });
  machine.channel.write(encodeMachineSpec(machineSpec(spec)));
  machine.channel.write(encodeBootSpec(boot));
  return { machine, session, seen };
}

interface Ran {
  readonly out: string;
  readonly err: string;
  readonly exit: AgentExit;
}

async function run({ session }: Running, script: string): Promise<Ran> {
  const command = session.exec(shell(script));
  const [out, err, exit] = await Promise.all([
    collect(command.stdout),
    collect(command.stderr),
    command.exit,
  ]);
  return { out, err, exit };
}

/** The machine has to be gone by itself. */
async function gone(running: Running): Promise<void> {
  expect(await running.machine.exited).toBe(0);
}

describe.skipIf(missing !== undefined)(`machine stage${missing === undefined ? '' : ` (${missing})`}`, () => {
  it('serves commands as the user that was named, in the view that was named', async () => {
    const running = await start({ hostname: 'box', clockNs: 1_900_000_000_000_000_000n });
    const hello = await running.session.hello;
    expect(hello).toMatchObject({ pid: 1, uid: 1000, gid: 1000 });
    const facts = await run(running, 'id -u; uname -n; date +%Y; cat /proc/sys/kernel/random/boot_id; ls /');
    expect(facts.out.split('\n')).toEqual([
      '1000',
      'box',
      '2030',
      '01234567-89ab-cdef-0123-456789abcdef',
      'bin',
      'dev',
      'lib',
      'lib64',
      'proc',
      'tmp',
      'usr',
      '',
    ]);
    const status = await run(running, 'cat /proc/self/status');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(status.out).toContain(`${set}:\t0000000000000000\n`);
    const refused = await run(
      running,
      'for f in /x /usr/x /dev/x /etc/x; do touch $f 2>&1; done; cat /proc/kcore /init /escape 2>&1; echo 1 2>&1 >/proc/sys/kernel/core_pattern',
    );
    expect(refused.out.match(/Read-only file system|No such file|Permission denied/g)).toHaveLength(8);
    expect((await run(running, 'cat /proc/self/oom_score_adj /proc/self/setgroups')).out).toBe('0\ndeny\n');
    expect((await run(running, 'echo -1 2>/dev/null >/proc/self/oom_score_adj')).exit.status).toBe(1);
    await running.session.shutdown(100);
    expect(await running.session.closed).toBeUndefined();
    await gone(running);
  });

  it('runs one command to its end and loses none of its output', async () => {
    const script = 'head -c 3000000 /dev/zero; echo last; exit 7';
    const running = await start({}, { mode: 'oneshot', exec: shell(script) });
    const [out, exit] = await Promise.all([collect(running.session.main.stdout), running.session.main.exit]);
    expect(exit.status).toBe(7);
    expect(out.length).toBe(3_000_005);
    expect(out.endsWith('last\n')).toBe(true);
    expect(await running.session.closed).toBeUndefined();
    await gone(running);
  });

  it('holds the number of processes, and outlives programs that take all memory', async () => {
    const limit = { resource: 6, soft: 20n, hard: 20n };
    const running = await start({}, { mode: 'serve', limits: [limit] }, { memory: 128 });
    const bomb = await run(running, 'for i in {1..40}; do sleep 2 & done 2>&1; wait');
    expect(bomb.out).toContain('Resource temporarily unavailable');
    const hog = await run(running, 'head -c 300000000 /dev/zero | tail | wc -c; exit ${PIPESTATUS[1]}');
    expect(hog.exit.status).toBe(137);
    expect(running.seen.outOfMemory).toBeGreaterThan(0);
    expect((await run(running, 'echo alive')).out).toBe('alive\n');
    running.session.destroy();
    await gone(running);
  });

  it('ends when the host goes away', async () => {
    const running = await start();
    await running.session.hello;
    const sleeper = running.session.exec(shell('sleep 1000'));
    sleeper.exit.catch(() => undefined);
    await sleeper.started;
    running.machine.channel.destroy();
    await gone(running);
  });

  it('waits for a host that is not there yet', async () => {
    const machine = await site.boot({ unattended: true });
    const channel = await machine.attach();
    await machineReady(channel);
    channel.destroy();
    const second = await machine.attach();
    const session = new AgentSession(second, { airlock: false });
    second.write(encodeMachineSpec(machineSpec()));
    second.write(encodeBootSpec({ mode: 'serve' }));
    expect((await session.hello).pid).toBe(1);
    session.destroy();
    expect(await machine.exited).toBe(0);
  });
});

describe.skipIf(missing !== undefined)('a machine that cannot become a sandbox', () => {
  it('says so and is off when a module is missing', async () => {
    const initrd = await site.initrd('no-erofs', (all) => all.filter(({ name }) => name !== 'erofs'));
    const machine = await site.boot({ initrd });
    await expect(machineReady(machine.channel)).rejects.toMatchObject({ code: 'E_SANDBOX_START' });
    machine.channel.destroy();
    expect(await machine.exited).toBe(0);
    expect(machine.console()).toMatch(/base: mount \/dev\/vda/);
  });

  it('is off when it has no channel to say it on', async () => {
    const initrd = await site.initrd('no-port', (all) => all.filter(({ name }) => name !== 'virtio_console'));
    const machine = await site.boot({ initrd });
    await expect(machineReady(machine.channel)).rejects.toMatchObject({ code: 'E_SANDBOX_START' });
    expect(await machine.exited).toBe(0);
  });

  it('is off when its base is cut short', async () => {
    const disk = site.copyBase('short.erofs');
    truncateSync(disk, 4096 * 8);
    const running = await start({}, { mode: 'serve' }, { disk }).catch((error: unknown) => error);
    if (running instanceof Error) return expect(running).toMatchObject({ code: 'E_SANDBOX_START' });
    const { session, machine } = running as Running;
    const outcome = await session.hello
      .then(() => run(running as Running, 'true'))
      .catch((error: unknown) => error);
    session.destroy();
    expect(outcome instanceof Error || (outcome as Ran).exit.status !== 0).toBe(true);
    return expect(await machine.exited).toBe(0);
  });

  it.each<readonly [string, Partial<MachineSpec>, RegExp, BootOptions]>([
    [
      'a part of the base is not there',
      { mounts: [...MACHINE_MOUNTS, { kind: 'base', source: '/nope', target: '/nope' }] },
      /open base.*nope/,
      {},
    ],
    [
      'a place is behind a link',
      { mounts: [...MACHINE_MOUNTS, { kind: 'tmpfs', target: '/bin/x', bytes: 1, mode: 0o755 }] },
      /bin\/x/,
      {},
    ],
    ['a share is not there', { share: 'none' }, /mount \w+:? none/, {}],
    ['its base is not there', {}, /open base:? usr/, { base: false }],
  ])('says so and is off when %s', async (_what, spec, why, options) => {
    const running = await start(spec, { mode: 'serve' }, options);
    await expect(running.session.hello).rejects.toThrow(why);
    await gone(running);
    expect(running.machine.console()).toMatch(why);
  });

  it('says so and is off when the card is missing that it is to have', async () => {
    const machine = await site.boot({ card: false, words: 'glovebox_card=10.0.2.15/24' });
    await expect(machineReady(machine.channel)).rejects.toThrow(/find card/);
    expect(await machine.exited).toBe(0);
    expect(machine.console()).toMatch(/find card/);
  });

  it('cuts off whoever says something when the relay does not answer', async () => {
    const running = await start({ network: network(1) });
    const said = await run(running, 'exec 3<>/dev/tcp/93.184.216.34/443 && echo hello >&3 && head -n 1 <&3');
    expect(said.out).toBe('');
    await running.session.shutdown(100);
    await gone(running);
  });

  it('is off after anything that is not what it has to be told', async () => {
    const whole = encodeMachineSpec(machineSpec());
    const garbage: readonly Buffer[] = [
      Buffer.alloc(4096, 0xff),
      encodeFrame(FRAME.boot, 0, Buffer.from('x')),
      encodeFrame(FRAME.machine, 0, Buffer.from('x')),
      encodeFrame(FRAME.machine, 0, whole.subarray(12, -3)),
    ];
    for (const bytes of garbage) {
      const machine = await site.boot();
      await machineReady(machine.channel);
      const session = new AgentSession(machine.channel, { airlock: false });
      machine.channel.write(bytes);
      await expect(session.hello).rejects.toMatchObject({ code: 'E_PROTOCOL' });
      expect(await machine.exited).toBe(0);
    }
    const machine = await site.boot();
    await machineReady(machine.channel);
    await new Promise((resolve) => machine.channel.write(whole.subarray(0, -3), resolve));
    // QEMU drops what it has not read when its other side goes.
    await new Promise((resolve) => setTimeout(resolve, 500));
    machine.channel.destroy();
    expect(await machine.exited).toBe(0);
  });
});

const LISTENERS: readonly ListenerSpec[] = [
  { id: 0, transport: 'udp', port: 53, role: 'dns' },
  { id: 1, transport: 'tcp', port: 443, role: 'transparent' },
  { id: 2, transport: 'tcp', port: 80, role: 'transparent' },
];

function network(relayPort: number): NonNullable<MachineSpec['network']> {
  const listeners = LISTENERS.map(({ id, transport, port }) => ({ id, proto: transport, port }));
  return { relay: '10.0.2.2', relayPort, listeners };
}

/** Answers with where a connection was meant to go, then with what it says; port 80 is cut at once. */
async function startRelay(): Promise<{ readonly server: Server; readonly port: number }> {
  const relay = new Relay(LISTENERS, {
    accept: (spec, socket, arrival) => {
      socket.on('error', () => undefined);
      if (spec.port === 80) return void socket.resetAndDestroy();
      socket.write(`${arrival.address} ${arrival.port}\n`);
      socket.pipe(socket);
    },
    answer: (message) => Buffer.concat([Buffer.from('you said '), message]),
    handshakeMs: 10_000,
    connections: 100,
  });
  const server = createRelayServer();
  server.on('connection', (socket) => relay.serve(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

describe.skipIf(missing !== undefined)("a machine's network", () => {
  it('carries what is listened for to the relay, and nothing anywhere else', async () => {
    const { server, port } = await startRelay();
    const outside = createServer((socket) => socket.end('reached')).listen(0, '127.0.0.1');
    await once(outside, 'listening');
    const running = await start({ network: network(port) });
    const say = (address: string): Promise<Ran> =>
      run(running, `exec 3<>/dev/tcp/${address}/443 && echo hello >&3 && head -n 2 <&3`);
    expect((await say('93.184.216.34')).out).toBe('93.184.216.34 443\nhello\n');
    expect((await say('10.0.2.2')).out).toBe('10.0.2.2 443\nhello\n');
    expect((await say('2606:2800:220:1::1')).out).toBe('2606:2800:220:1::1 443\nhello\n');
    const asked = await run(running, 'exec 3<>/dev/udp/9.9.9.9/53 && echo -n hm >&3 && head -c 11 <&3');
    expect(asked.out).toBe('you said hm');
    const large = await run(
      running,
      'exec 3<>/dev/tcp/1.2.3.4/443; head -n 1 <&3 >/dev/null; head -c 2000000 /dev/zero >&3 & exec 4<&3; head -c 2000000 <&4 | wc -c',
    );
    expect(large.out.trim()).toBe('2000000');
    const many = await run(
      running,
      'for i in {1..30}; do (exec 3<>/dev/tcp/1.1.1.$i/443; head -n 1 <&3) & done | wc -l; wait',
    );
    expect(many.out.trim()).toBe('30');
    const cut = await run(running, 'exec 3<>/dev/tcp/1.2.3.4/80; cat <&3');
    expect(cut.err).toContain('Connection reset by peer');
    const { port: other } = outside.address() as AddressInfo;
    const refused = await run(running, `exec 3<>/dev/tcp/10.0.2.2/${other}`);
    expect(refused.err).toContain('Connection refused');
    await running.session.shutdown(100);
    await gone(running);
    server.close();
    outside.close();
  });
});

const noShare = missing ?? shareMissing();

describe.skipIf(noShare !== undefined)(
  `a machine's share${noShare === undefined ? '' : ` (${noShare})`}`,
  () => {
    it('shows what is shared where it was named, writable only where it was named so', async () => {
      const share = site.path('share');
      mkdirSync(`${share}/ws/sub`, { recursive: true });
      mkdirSync(`${share}/ro`);
      writeFileSync(`${share}/ro/file`, 'frozen\n');
      symlinkSync('/usr', `${share}/link`);
      if (process.getuid?.() === 0)
        for (const name of ['ws', 'ws/sub']) chownSync(`${share}/${name}`, 1000, 1000);
      const mounts: readonly MachineMount[] = [
        ...MACHINE_MOUNTS,
        { kind: 'dir', target: '/home', mode: 0o755 },
        { kind: 'share', source: '/ws', target: '/home/ws', writable: true },
        { kind: 'share', source: '/ro', target: '/ro', writable: false },
        { kind: 'share', source: '/ro/file', target: '/one', writable: false },
        { kind: 'tmpfs', target: '/home/ws/sub', bytes: 1 << 20, mode: 0o700 },
        { kind: 'hidden', target: '/ro/file', type: 'file' },
        { kind: 'file', target: '/etc/motd', mode: 0o444, content: Buffer.from('made\n') },
      ];
      const running = await start({ share: 'view', mounts }, { mode: 'serve' }, { share });
      const { out } = await run(
        running,
        'echo new >/home/ws/new; stat -c "%u %g" /home/ws/new; touch /ro/x 2>&1; touch /home/ws/sub/hidden 2>&1; cat /one /etc/motd /ro/file 2>&1; echo >>/one',
      );
      expect(out).toContain('1000 1000\n');
      expect(out).toContain("cannot touch '/ro/x': Read-only file system");
      expect(out).toContain('frozen\nmade\n');
      expect(out).toContain('/ro/file: Permission denied');
      expect(readFileSync(`${share}/ws/new`, 'utf8')).toBe('new\n');
      expect(readFileSync(`${share}/ro/file`, 'utf8')).toBe('frozen\n');
      await running.session.shutdown(100);
      await gone(running);
    });

    it('follows no link of the share', async () => {
      const share = site.path('linked');
      mkdirSync(share);
      symlinkSync('/', `${share}/link`);
      const mounts: readonly MachineMount[] = [
        ...MACHINE_MOUNTS,
        { kind: 'share', source: '/link', target: '/ws', writable: true },
      ];
      const running = await start({ share: 'view', mounts }, { mode: 'serve' }, { share });
      await expect(running.session.hello).rejects.toThrow(/open tree/);
      await gone(running);
    });
  },
);
