import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeBootSpec } from '../../src/agent/boot.ts';
import type { AgentExit, BootSpec, ExecSpec } from '../../src/agent/contract.ts';
import { collect } from '../../src/agent/jail.fixture.ts';
import { encodeMachineSpec, machineReady } from '../../src/agent/machine.ts';
import type { MachineSpec } from '../../src/agent/machine-contract.ts';
import { AgentSession } from '../../src/agent/session.ts';
import { TreeLink } from '../../src/agent/tree-link.ts';
import type { ListenerSpec } from '../../src/gateway/contract.ts';
import { Relay, createRelayServer } from '../../src/gateway/relay.ts';
import { findKernel } from '../../src/machine/kernel/find.ts';
import { FILES_SOCKET } from '../../src/drivers/qemu/copied.ts';
import { TreeReceiver } from '../../src/review/receive.ts';
import { sendTrees } from '../../src/review/send.ts';
import { MACHINE_MOUNTS, MachineSite, machineMissing, machineSpec } from '../support/machine.ts';
import type { BootOptions, Machine } from '../support/machine.ts';
import { VSOCK_WORDS, frontOf, vsockInitrd } from '../support/vsock-guest.ts';

function whyMissing(): string | undefined {
  const missing = machineMissing();
  if (missing !== undefined) return missing;
  const loopback = path.join(findKernel().modules, 'kernel/net/vmw_vsock/vsock_loopback.ko');
  return existsSync(loopback) ? undefined : 'the guest kernel has no vsock_loopback';
}

const missing = whyMissing();

let site: MachineSite;
let initrd: string;
beforeAll(async () => {
  if (missing !== undefined) return;
  site = await MachineSite.make();
  initrd = await vsockInitrd(site);
});
afterAll(() => site?.remove());

const shell = (script: string): ExecSpec => ({
  argv: ['bash', '-c', script],
  env: { PATH: '/usr/bin' },
  cwd: '/tmp',
});

interface Running {
  readonly machine: Machine;
  readonly session: AgentSession;
}

async function start(
  spec: Partial<MachineSpec>,
  boot: BootSpec = { mode: 'serve' },
  more: BootOptions = {},
): Promise<Running> {
  const options: BootOptions = { initrd, words: VSOCK_WORDS, ...more };
  const machine = await site.boot(options);
  await machineReady(machine.channel);
  const session = new AgentSession(machine.channel, { airlock: false, oneshot: boot.mode === 'oneshot' });
  machine.channel.write(encodeMachineSpec(machineSpec(spec)));
  machine.channel.write(encodeBootSpec(boot));
  return { machine, session };
}

async function run(
  { session }: Running,
  script: string,
): Promise<{ out: string; err: string; exit: AgentExit }> {
  const command = session.exec(shell(script));
  const [out, err, exit] = await Promise.all([
    collect(command.stdout),
    collect(command.stderr),
    command.exit,
  ]);
  return { out, err, exit };
}

const LISTENERS: readonly ListenerSpec[] = [
  { id: 0, transport: 'udp', port: 53, role: 'dns' },
  { id: 1, transport: 'tcp', port: 443, role: 'transparent' },
  { id: 2, transport: 'tcp', port: 80, role: 'transparent' },
];

/** Answers with where a connection was meant to go, then with what it says; port 80 is cut at once. */
function makeRelay(): Relay {
  return new Relay(LISTENERS, {
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
}

const network: NonNullable<MachineSpec['network']> = {
  vsockPort: 1025,
  listeners: LISTENERS.map(({ id, transport, port }) => ({ id, proto: transport, port })),
};

describe.skipIf(missing !== undefined)(
  `a machine whose host is reached over vsock${missing === undefined ? '' : ` (${missing})`}`,
  () => {
    it('serves commands, loses no output, and ends by starting again', async () => {
      const script = 'id -u; head -c 3000000 /dev/zero; echo last; exit 7';
      const running = await start({}, { mode: 'oneshot', exec: shell(script) });
      const { main } = running.session;
      const [out, exit] = await Promise.all([collect(main.stdout), main.exit]);
      expect(exit.status).toBe(7);
      expect(out.startsWith('1000\n')).toBe(true);
      expect(out.length).toBe(3_000_010);
      expect(out.endsWith('last\n')).toBe(true);
      expect(await running.session.closed).toBeUndefined();
      expect(await running.machine.exited).toBe(0);
    });

    it('carries connections and questions to the host, and has no network card of its own', async () => {
      const server = createRelayServer();
      const relay = makeRelay();
      server.on('connection', (socket) => relay.serve(socket));
      const front = await frontOf(site, server);
      const running = await start(
        { network },
        { mode: 'serve' },
        {
          words: `${VSOCK_WORDS} test_relay=${front.port}`,
        },
      );
      const say = (address: string): Promise<{ out: string }> =>
        run(running, `exec 3<>/dev/tcp/${address}/443 && echo hello >&3 && head -n 2 <&3`);
      expect((await say('93.184.216.34')).out).toBe('93.184.216.34 443\nhello\n');
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
      expect((await run(running, 'exec 3<>/dev/tcp/1.2.3.4/81')).err).toContain('Connection refused');
      await running.session.shutdown(100);
      expect(await running.machine.exited).toBe(0);
      front.close();
    });

    it('takes copied trees over a connection of their own, and gives back what became of one', async () => {
      const [from, kept, spool] = ['from', 'kept', 'spool'].map((name) => site.path(name)) as [
        string,
        string,
        string,
      ];
      for (const dir of [from, `${from}/sub`, kept, spool]) mkdirSync(dir, { mode: 0o700 });
      writeFileSync(`${from}/sub/large`, Buffer.alloc(3_000_000, 'x'));
      writeFileSync(`${from}/gone`, 'gone\n');
      cpSync(from, kept, { recursive: true });
      const server = createServer({ pauseOnConnect: true }).listen(site.path(FILES_SOCKET));
      await once(server, 'listening');
      const machine = await site.boot({
        initrd,
        words: `${VSOCK_WORDS} test_files=1`,
        files: true,
      });
      const [port] = (await once(server, 'connection')) as [Socket];
      server.close();
      await machineReady(machine.channel);
      const session = new AgentSession(machine.channel, { airlock: false, oneshot: true });
      const mounts: MachineSpec['mounts'] = [
        ...MACHINE_MOUNTS,
        { kind: 'copied', source: '/0', target: '/ws', writable: true },
      ];
      machine.channel.write(encodeMachineSpec(machineSpec({ mounts, copiedBytes: 32 << 20 })));
      const script = 'wc -c </ws/sub/large; echo new >/ws/sub/new; rm /ws/gone';
      machine.channel.write(encodeBootSpec({ mode: 'oneshot', exec: shell(script) }));
      const link = new TreeLink(new TreeReceiver(kept, spool));
      const sent = link.start(port, sendTrees([{ source: from, name: '0', withheld: () => false }]));
      port.resume();
      await sent;
      expect((await collect(session.main.stdout)).trim()).toBe('3000000');
      expect((await session.main.exit).status).toBe(0);
      expect(await link.finish(false)).toBeUndefined();
      expect(await session.closed).toBeUndefined();
      expect(await machine.exited).toBe(0);
      expect(readdirSync(kept, { recursive: true, encoding: 'utf8' }).toSorted()).toEqual([
        'sub',
        'sub/large',
        'sub/new',
      ]);
      expect(readFileSync(`${kept}/sub/new`, 'utf8')).toBe('new\n');
    });

    it('is ready for the next host when one leaves without a word, as after a snapshot', async () => {
      const machine = await site.boot({ initrd, words: VSOCK_WORDS, unattended: true });
      for (let turn = 0; turn < 2; turn++) {
        const channel = await machine.attach();
        await machineReady(channel);
        channel.destroy();
        // A port whose host is back at once was never without one, as far as the guest sees.
        await new Promise((resolve) => setTimeout(resolve, 2_000));
      }
      const channel = await machine.attach();
      await machineReady(channel);
      const session = new AgentSession(channel, { airlock: false, oneshot: true });
      channel.write(encodeMachineSpec(machineSpec()));
      channel.write(encodeBootSpec({ mode: 'oneshot', exec: shell('exit 3') }));
      expect((await session.main.exit).status).toBe(3);
      expect(await session.closed).toBeUndefined();
      expect(await machine.exited).toBe(0);
    });

    it('listens to nobody but its host', async () => {
      const wrong = await site.boot({ initrd, words: 'glovebox_vsock=7' });
      const ready = machineReady(wrong.channel).then(() => 'ready');
      const late = new Promise<string>((resolve) => setTimeout(() => resolve('silent'), 8_000));
      expect(await Promise.race([ready, late])).toBe('silent');
      ready.catch(() => undefined);
      wrong.channel.destroy();
    });
  },
);
