import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PlanLimits } from '../contract.ts';
import { createCgroup } from './cgroup.ts';
import { detectCgroups, type CgroupFacts } from './facts.ts';
import { groupName, groupOwner } from './names.ts';
import { planLimits, type LimitsPlan } from './plan.ts';
import { readHardLimits, RLIMIT, UNLIMITED } from './rlimits.ts';
import { readUsage } from './usage.ts';

const V1: CgroupFacts = {
  version: 1,
  parents: { memory: '/m', pids: '/p', cpu: '/c', cpuacct: '/a' },
  detail: 'cgroup v1',
};
const V2: CgroupFacts = { version: 2, parents: { memory: '/g', pids: '/g', cpu: '/g' }, detail: 'cgroup v2' };
const NONE: CgroupFacts = { version: 0, parents: {}, detail: 'no writable cgroup' };

const LIMITS: PlanLimits = {
  cpu: 1.5,
  memoryBytes: 1024 ** 3,
  pids: 256,
  files: 1024,
  fileSizeBytes: 4096,
  timeoutMs: 1000,
  require: [],
  explicit: [],
};
const plan = (
  facts: CgroupFacts,
  limits: Partial<PlanLimits> = {},
  euid = 1000,
  hard = new Map<number, bigint>(),
): LimitsPlan => planLimits({ limits: { ...LIMITS, ...limits }, facts, watchable: true, euid, hard });
const rlimit = (made: LimitsPlan, resource: number): bigint | undefined =>
  made.rlimits.find((limit) => limit.resource === resource)?.hard;
const writes = (made: LimitsPlan): string[] =>
  (made.cgroup?.writes ?? []).map(
    ({ file, value, optional }) => `${file}=${value}${optional ? ' if there' : ''}`,
  );

describe('planLimits', () => {
  test('version 1', () => {
    const made = plan(V1);
    expect(writes(made)).toEqual([
      'memory.limit_in_bytes=1073741824',
      'memory.memsw.limit_in_bytes=1073741824 if there',
      'pids.max=258',
      'cpu.cfs_period_us=100000',
      'cpu.cfs_quota_us=150000 if there',
    ]);
    expect(new Set(Object.values(made.strength))).toEqual(new Set(['full']));
    expect(made).toMatchObject({ refused: [], notices: [] });
    expect(rlimit(made, RLIMIT.DATA)).toBeUndefined();
  });

  test('version 2', () => {
    const made = plan(V2, { cpu: 0.001 });
    expect(writes(made)).toEqual([
      'memory.max=1073741824',
      'memory.swap.max=0 if there',
      'memory.oom.group=1 if there',
      'pids.max=258',
      'cpu.max=1000 100000',
    ]);
  });

  test('without cgroups a user gets weak limits, and is told', () => {
    const made = plan(NONE);
    expect(made.cgroup).toBeUndefined();
    expect(made.strength).toMatchObject({
      cpu: 'none',
      memory: 'weak',
      pids: 'weak',
      files: 'full',
      timeout: 'full',
    });
    expect(rlimit(made, RLIMIT.DATA)).toBe(1024n ** 3n);
    expect(rlimit(made, RLIMIT.NPROC)).toBe(257n);
    expect(made.refused).toEqual([]);
    expect(made.notices).toEqual([
      'no CPU limit (no writable cgroup)',
      'the memory limit is held by watching (no writable cgroup)',
      'processes are limited for the user, not for the sandbox (no writable cgroup)',
    ]);
  });

  test('RLIMIT_NPROC does not bind root', () => {
    const made = plan(NONE, {}, 0);
    expect(made.strength.pids).toBe('none');
    expect(rlimit(made, RLIMIT.NPROC)).toBeUndefined();
  });

  test('what was required has to hold in full, what was asked for at least in part', () => {
    expect(plan(NONE, { require: ['memory', 'files', 'timeout'] }).refused).toEqual(['memory']);
    expect(plan(NONE, { explicit: ['memory', 'cpu', 'pids'] }).refused).toEqual(['cpu']);
    expect(plan(NONE, { explicit: ['memory', 'cpu', 'pids'] }, 0).refused).toEqual(['cpu', 'pids']);
    expect(plan(V2, { require: ['memory', 'cpu', 'pids'] }).refused).toEqual([]);
    const { cpu: _, ...unlimited } = LIMITS;
    const made = planLimits({
      limits: { ...unlimited, require: ['cpu'] },
      facts: NONE,
      watchable: true,
      euid: 1,
      hard: new Map(),
    });
    expect(made.refused, 'nothing to hold').toEqual([]);
  });

  test('nothing goes above a hard limit: raising one needs a capability', () => {
    const made = plan(
      V1,
      { files: 100_000 },
      0,
      new Map([
        [RLIMIT.NOFILE, 20_000n],
        [RLIMIT.MEMLOCK, 65_536n],
      ]),
    );
    expect(rlimit(made, RLIMIT.NOFILE)).toBe(20_000n);
    expect(rlimit(made, RLIMIT.MEMLOCK)).toBe(65_536n);
    expect(made.notices).toEqual(['files 100000 is above the hard limit here: 20000']);
  });

  test('memory of all processes together is watched where no control group counts it', () => {
    const guest = (facts: CgroupFacts, watchable: boolean, limits: Partial<PlanLimits> = {}): LimitsPlan =>
      planLimits({
        limits: { ...LIMITS, ...limits },
        facts,
        watchable,
        euid: 1000,
        hard: new Map(),
        guestKernel: true,
      });
    for (const made of [plan(NONE), guest(NONE, true)]) {
      expect(made).toMatchObject({ watchBytes: 1024 ** 3, strength: { memory: 'weak' } });
      expect(made.notices).toContain('the memory limit is held by watching (no writable cgroup)');
    }
    expect(guest(NONE, true, { require: ['memory'] }).refused).toEqual(['memory']);
    for (const made of [plan(V1), guest(V2, true)]) expect(made.watchBytes).toBeUndefined();
    const { memoryBytes: _, ...unlimited } = LIMITS;
    const free = {
      limits: unlimited,
      facts: NONE,
      watchable: true,
      euid: 1,
      hard: new Map<number, bigint>(),
    };
    expect(planLimits(free).watchBytes, 'nothing to hold').toBeUndefined();
  });

  test('where nobody can watch, a guest kernel has no limit on memory, and a process has its own', () => {
    const blind = {
      limits: LIMITS,
      facts: NONE,
      watchable: false,
      euid: 1000,
      hard: new Map<number, bigint>(),
    };
    const guest = planLimits({ ...blind, guestKernel: true });
    expect(guest).toMatchObject({ strength: { memory: 'none' }, refused: [] });
    expect(guest.notices).toContain('no memory limit (no writable cgroup)');
    const asked = { ...LIMITS, explicit: ['memory'] } as const;
    expect(planLimits({ ...blind, limits: asked, guestKernel: true }).refused).toEqual(['memory']);
    const jail = planLimits({ ...blind, limits: asked });
    expect(jail).toMatchObject({ strength: { memory: 'weak' }, refused: [] });
    expect(jail.watchBytes).toBeUndefined();
    expect(jail.notices).toContain(
      'memory is limited for each process, not for all together (no writable cgroup)',
    );
  });

  test('a guest kernel that is Linux holds priorities too, and only our agent is beside its processes', () => {
    const guest = { limits: LIMITS, facts: V2, watchable: true, euid: 1, hard: new Map<number, bigint>() };
    const linux = planLimits({ ...guest, guestKernel: true, linuxGuest: true });
    const other = planLimits({ ...guest, guestKernel: true });
    expect([RLIMIT.NPROC, RLIMIT.NICE, RLIMIT.RTPRIO].map((one) => rlimit(linux, one))).toEqual([
      257n,
      0n,
      0n,
    ]);
    expect([RLIMIT.NPROC, RLIMIT.NICE, RLIMIT.RTPRIO].map((one) => rlimit(other, one))).toEqual([
      258n,
      undefined,
      undefined,
    ]);
  });

  test('no core files, no real time, ever', () => {
    const made = planLimits({
      limits: { require: [], explicit: [] },
      facts: NONE,
      watchable: true,
      euid: 1,
      hard: new Map(),
    });
    expect([RLIMIT.CORE, RLIMIT.RTPRIO, RLIMIT.NICE].map((resource) => rlimit(made, resource))).toEqual([
      0n,
      0n,
      0n,
    ]);
    expect(made.notices).toEqual([]);
  });
});

test('hard limits are read from /proc', () => {
  const limits = readHardLimits();
  expect(limits.size).toBe(8);
  expect(limits.get(RLIMIT.NOFILE)).toBeGreaterThan(0n);
  expect([...limits.values()].every((value) => value >= 0n && value <= UNLIMITED)).toBe(true);
});

test('a name carries its owner; a name that could leave the directory is refused', () => {
  expect(groupOwner(groupName('sbx_abc', { pid: 42, startTicks: '987' }))).toEqual({
    pid: 42,
    startTicks: '987',
  });
  expect(() => groupName('../x', { pid: 1, startTicks: '1' })).toThrow(/no sandbox id/);
  for (const other of ['sbx_abc', 'a.b.c', '..', 'sbx.1', 'sbx.1.2.3'])
    expect(groupOwner(other)).toBeUndefined();
});

describe('a made-up tree', () => {
  let root = '';
  const put = (file: string, text: string): void => {
    mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
    writeFileSync(path.join(root, file), text);
  };
  const detect = (own: string): CgroupFacts => {
    put('self', own);
    return detectCgroups(path.join(root, 'fs'), path.join(root, 'self'));
  };
  const group = (dir: string, available: string, enabled: string): void => {
    put(`fs${dir}/cgroup.controllers`, `${available}\n`);
    put(`fs${dir}/cgroup.subtree_control`, `${enabled}\n`);
    put(`fs${dir}/cgroup.procs`, '');
  };
  beforeEach(() => {
    root = mkdtempSync(path.join(tmpdir(), 'glovebox-cgroup-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  test('version 2: the nearest group above the own one', () => {
    put('fs/cgroup.controllers', 'cpu memory pids\n');
    group('/user.slice/app.slice', 'cpu memory pids io', 'memory pids');
    group('/user.slice/app.slice/run-1.scope', 'memory pids', '');
    const facts = detect('0::/user.slice/app.slice/run-1.scope\n');
    const parent = path.join(root, 'fs/user.slice/app.slice');
    expect(facts).toMatchObject({ version: 2, parents: { memory: parent, pids: parent, cpu: parent } });
  });

  test('version 2: nothing to fill in the root of a namespace', () => {
    group('', 'cpu memory pids', '');
    put('fs/cgroup.type', 'domain\n');
    expect(detect('0::/\n')).toMatchObject({
      version: 0,
      parents: {},
      fix: expect.stringContaining('systemd-run'),
    });
    expect(detect('0::/../other\n').version).toBe(0);
  });

  test('version 2: the real root may be filled', () => {
    group('', 'cpu memory pids', '');
    expect(detect('0::/\n')).toMatchObject({ version: 2, parents: { cpu: path.join(root, 'fs') } });
  });

  test('version 1: own group where visible, else the mount', () => {
    put('fs/memory/job/cgroup.procs', '');
    put('fs/pids/cgroup.procs', '');
    const facts = detect('4:memory:/job\n8:pids:/elsewhere\n2:cpu,cpuacct:/\n');
    expect(facts).toMatchObject({ version: 1, detail: 'cgroup v1: memory, pids' });
    expect(facts.parents).toEqual({
      memory: path.join(root, 'fs/memory/job'),
      pids: path.join(root, 'fs/pids'),
    });
  });

  test('nothing mounted', () => {
    expect(detect('')).toMatchObject({ version: 0, detail: 'no writable cgroup' });
  });

  test('version 2: controllers are handed down and the limits written', () => {
    group('', 'cpu memory pids', 'memory');
    const facts = detect('0::/\n');
    const made = plan(facts).cgroup;
    if (made === undefined) throw new Error('no plan');
    const cgroup = createCgroup('sbx_a', made);
    expect(readFileSync(path.join(root, 'fs/cgroup.subtree_control'), 'utf8')).toBe('+pids +cpu');
    expect(readFileSync(path.join(root, 'fs/glovebox/cgroup.subtree_control'), 'utf8')).toBe(
      '+memory +pids +cpu',
    );
    const name =
      readdirSync(path.join(root, 'fs/glovebox')).find((entry) => entry.startsWith('sbx_a.')) ?? '';
    const dir = path.join(root, 'fs/glovebox', name);
    expect(cgroup.procsPaths).toEqual([path.join(dir, 'cgroup.procs')]);
    expect(readFileSync(path.join(dir, 'memory.max'), 'utf8')).toBe('1073741824');
    expect(readFileSync(path.join(dir, 'cpu.max'), 'utf8')).toBe('150000 100000');
    expect(readFileSync(path.join(dir, 'pids.max'), 'utf8')).toBe('258');
  });

  test('version 2: what the kernel counted', () => {
    put('g/memory.peak', '4096\n');
    put('g/memory.events', 'low 0\noom 2\noom_kill 1\n');
    put('g/pids.events', 'max 3\n');
    put('g/pids.peak', '17\n');
    put('g/cpu.stat', 'usage_usec 2500\nuser_usec 1000\n');
    const dir = path.join(root, 'g');
    expect(
      readUsage(
        2,
        new Map([
          ['memory', dir],
          ['pids', dir],
          ['cpu', dir],
        ]),
      ),
    ).toEqual({
      peakMemoryBytes: 4096,
      peakPids: 17,
      cpuMs: 3,
      hit: ['memory', 'pids'],
    });
    expect(readUsage(2, new Map([['memory', path.join(root, 'gone')]]))).toEqual({ hit: [] });
  });

  test('a limit that the kernel refuses is an error, and leaves no group', () => {
    const made = plan({ ...V1, parents: { memory: path.join(root, 'missing/x') } }).cgroup;
    if (made === undefined) throw new Error('no plan');
    writeFileSync(path.join(root, 'missing'), '');
    expect(() => createCgroup('sbx_a', made)).toThrow(
      expect.objectContaining({ code: 'E_LIMIT_UNAVAILABLE' }),
    );
  });
});
