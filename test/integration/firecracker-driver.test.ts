import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jailMissing } from '../../src/agent/jail.fixture.ts';
import { FRAME, MACHINE_TAG } from '../../src/agent/numbers.ts';
import { tlvRecords } from '../../src/agent/tlv.ts';
import { discardTrees, TreeLink } from '../../src/agent/tree-link.ts';
import { isGloveboxError } from '../../src/base/errors.ts';
import type { Jail } from '../../src/drivers/bubblewrap/driver.ts';
import type { BootInput } from '../../src/drivers/bubblewrap/spec.ts';
import { spawnFirecracker, type FirecrackerLaunch } from '../../src/drivers/firecracker/driver.ts';
import { sendTrees } from '../../src/review/send.ts';
import { FirecrackerSite } from '../support/firecracker.ts';

const missing = jailMissing();

let site: FirecrackerSite;
beforeAll(() => {
  if (missing === undefined) site = new FirecrackerSite();
});
const started: Jail[] = [];
afterAll(() => {
  for (const jail of started) jail.kill();
  site?.remove();
});

const bootOf = ({ plan }: FirecrackerLaunch): BootInput => ({
  plan,
  seccomp: new Uint8Array(0),
  limits: [],
  identities: [],
  placeholders: new Map(),
});

interface Started {
  readonly jail: Jail;
  /** Connections of the relay. */
  readonly relayed: Socket[];
}

async function start(launch: FirecrackerLaunch): Promise<Started> {
  const relayed: Socket[] = [];
  const relay = createServer((socket) => relayed.push(socket));
  const spawned = spawnFirecracker(launch);
  try {
    const jail = await spawned.boot(() => bootOf(launch), relay);
    started.push(jail);
    return { jail, relayed };
  } finally {
    relay.close();
  }
}

async function failure(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    if (isGloveboxError(error)) return error;
    throw error;
  }
  throw new Error('nothing failed');
}

async function whole(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Processes that were started with this program. */
function processesOf(program: string): string {
  try {
    return execFileSync('pgrep', ['-f', program], { encoding: 'utf8' });
  } catch {
    return '';
  }
}

/** Lines of the console that are calls. */
const callsOf = (jail: Jail): readonly string[] =>
  [...jail.complaint().matchAll(/^(?:PUT|PATCH) \S+/gm)].map(([call]) => call);

describe.skipIf(missing !== undefined)(`the driver of Firecracker${missing ? ` (${missing})` : ''}`, () => {
  it('tells Firecracker what to run and the guest what it is, and gives what every tier gives', async () => {
    const launch = site.launch('sbx_1');
    const guest = await site.guest(launch);
    const { jail, relayed } = await start(launch);
    expect(callsOf(jail)).toEqual([
      'PUT /logger',
      'PUT /machine-config',
      'PUT /boot-source',
      'PUT /drives/base',
      'PUT /vsock',
      'PUT /entropy',
      'PUT /actions',
    ]);
    expect(jail.complaint()).toContain('glovebox_vsock=2');
    expect(jail.complaint()).toContain('guest: relay reached');
    expect(relayed).toHaveLength(1);
    expect(await jail.session.hello).toMatchObject({ pid: 1, uid: 1000, gid: 1000 });
    expect(guest.frames.map(({ type }) => type)).toEqual([FRAME.machine, FRAME.boot]);
    const told = new Map(
      [...tlvRecords(guest.frames[0]?.payload ?? Buffer.alloc(0))].map((one) => [one.tag, one.value]),
    );
    expect(told.get(MACHINE_TAG.vsock)?.readUInt32LE(0)).toBe(1025);
    expect(told.has(MACHINE_TAG.network)).toBe(false);
    expect(told.has(MACHINE_TAG.listener)).toBe(true);
    await jail.session.shutdown(100);
    expect(await jail.session.closed).toBeUndefined();
    await jail.exited;
    expect(processesOf(launch.firecracker)).toBe('');
    // Its sockets go with the directory, which is the launcher's.
    expect(jail.outside?.map(({ kind, name }) => [kind, name])).toEqual([['directory', launch.sockets]]);
  });

  it('stops and goes on by the API, and is killed whole', async () => {
    const launch = site.launch('sbx_2');
    await site.guest(launch);
    const { jail } = await start(launch);
    await jail.machine?.pause();
    await jail.machine?.resume();
    const held = (): readonly string[] => callsOf(jail).filter((call) => call === 'PATCH /vm');
    await expect.poll(held).toHaveLength(2);
    jail.kill();
    expect(await jail.exited).toMatchObject({ signal: 'SIGKILL' });
    expect(await jail.session.closed).toBeUndefined();
    expect(processesOf(launch.firecracker)).toBe('');
  });

  it('says why a machine ended by itself, with the end of its console', async () => {
    const launch = site.launch('sbx_3');
    const guest = await site.guest(launch);
    const { jail } = await start(launch);
    guest.cut();
    expect(await jail.session.closed).toMatchObject({
      code: 'E_SANDBOX_CRASHED',
      what: 'the machine ended by itself',
      why: expect.stringContaining('PUT /actions'),
    });
  });

  it.each([
    ['refuse', { code: 'E_SANDBOX_START', why: 'not today', context: { path: '/vsock', status: 400 } }],
    [
      'panic',
      {
        code: 'E_SANDBOX_START',
        what: 'the machine ended while it started',
        why: 'Kernel panic - not syncing: of the test',
      },
    ],
    [
      'exit',
      {
        code: 'E_SANDBOX_START',
        what: 'the machine ended while it started',
        why: expect.stringMatching(/PUT/),
      },
    ],
  ])('refuses a start that went wrong (%s), and leaves no process', async (id, error) => {
    const launch = site.launch(id);
    await site.guest(launch);
    expect(await failure(start(launch))).toMatchObject(error);
    expect(processesOf(launch.firecracker)).toBe('');
  });

  it('trusts no guest that says something else than it should', async () => {
    const launch = site.launch('sbx_4');
    await site.guest(launch, Buffer.alloc(64, 0xff));
    expect(await failure(start(launch))).toMatchObject({ code: 'E_PROTOCOL' });
    expect(processesOf(launch.firecracker)).toBe('');
  });

  it('copies trees in over a connection of their own', async () => {
    const tree = path.join(site.dir, 'tree');
    mkdirSync(tree);
    writeFileSync(path.join(tree, 'large'), Buffer.alloc(300_000, 'x'));
    const plain = site.launch('sbx_5');
    const mount = { kind: 'bind', source: tree, target: '/tree', writable: true, why: 'a test' } as const;
    const trees = [{ source: tree, name: '0', withheld: () => false }];
    const link = new TreeLink(discardTrees);
    const launch: FirecrackerLaunch = {
      ...plain,
      plan: { ...plain.plan, view: [...plain.plan.view, mount] },
      copiedTrees: {
        targets: new Map([['/tree', 0]]),
        bytes: 1 << 24,
        start: (port) => link.start(port, sendTrees(trees)),
        leaving: link.leaving,
      },
    };
    const guest = await site.guest(launch);
    const files = await site.files(launch);
    const { jail } = await start(launch);
    const told = [...tlvRecords(guest.frames[0]?.payload ?? Buffer.alloc(0))];
    expect(told.find(({ tag }) => tag === MACHINE_TAG.copied)?.value.readBigUInt64LE(0)).toBe(1n << 24n);
    const sent = await whole(sendTrees(trees));
    await expect.poll(() => files.heard().equals(sent)).toBe(true);
    const pulled = link.pull().catch((error: unknown) => error);
    await expect.poll(() => files.heard().length).toBe(sent.length + 1);
    jail.kill();
    expect(await pulled).toMatchObject({ code: 'E_SANDBOX_CLOSED' });
    await jail.exited;
  });
});
