import { execFileSync } from 'node:child_process';
import { createServer, type Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { jailMissing } from '../../src/agent/jail.fixture.ts';
import { FRAME, MACHINE_TAG } from '../../src/agent/numbers.ts';
import { tlvRecords } from '../../src/agent/tlv.ts';
import { isGloveboxError } from '../../src/base/errors.ts';
import type { Jail } from '../../src/drivers/bubblewrap/driver.ts';
import type { BootInput } from '../../src/drivers/bubblewrap/spec.ts';
import { spawnFirecracker, type FirecrackerLaunch } from '../../src/drivers/firecracker/driver.ts';
import { caught } from '../../src/policy/fixture.ts';
import { FirecrackerSite, VM_PLAN } from '../support/firecracker.ts';

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

  it('refuses a plan with a tree of the host before anything is started', () => {
    const launch = { ...site.launch('sbx_5'), plan: VM_PLAN };
    expect(caught(() => spawnFirecracker(launch))).toMatchObject({
      code: 'E_UNSUPPORTED',
      why: expect.stringContaining('serves no files'),
    });
    expect(site.left(launch)).toEqual([]);
  });
});
