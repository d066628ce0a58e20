import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { canonicalHash } from '../../src/base/canonical-json.ts';
import { bubblewrapArgs } from '../../src/drivers/bubblewrap/args.ts';
import { assemble } from '../../src/drivers/bubblewrap/assembly.ts';
import { compilePlan } from '../../src/drivers/plan.ts';
import { FACTS, plan, POLICY } from './sample.ts';

/** A change here is a change of what every sandbox is: look at the difference, then write the file again. */
const golden = (name: string): unknown =>
  JSON.parse(readFileSync(path.join(import.meta.dirname, 'golden', name), 'utf8'));

const args = (): readonly string[] =>
  bubblewrapArgs({ plan: plan(), agent: '/opt/glovebox/agent', scratch: '/run/user/1000/glovebox/scratch' });

describe('the plan', () => {
  it('of a fixed policy and fixed facts is the one on record', () => {
    expect(JSON.parse(JSON.stringify(plan()))).toEqual(golden('plan.json'));
  });

  it('is the same for the same input, frozen, and moves with each part of it', () => {
    expect(canonicalHash(plan())).toBe(canonicalHash(plan()));
    expect(Object.isFrozen(plan())).toBe(true);
    const others = [
      compilePlan({ ...POLICY, limits: { ...POLICY.limits, pids: 257 } }, FACTS),
      compilePlan({ ...POLICY, process: { ...POLICY.process, nesting: true } }, FACTS),
      compilePlan(POLICY, { ...FACTS, guards: FACTS.guards.slice(1) }),
      compilePlan(POLICY, { ...FACTS, cwd: '/home/ada/project' }),
    ];
    expect(new Set([plan(), ...others].map((one) => canonicalHash(one))).size).toBe(5);
  });

  it('lets nothing of the host environment in that the policy does not name', () => {
    const { env } = plan();
    expect(env).toMatchObject({ TERM: 'xterm', CI: '1', HOME: '/home/ada' });
    expect(Object.keys(env)).not.toContain('LD_PRELOAD');
    expect(Object.values(env)).not.toContain('secret');
    expect(env['PATH']).toBe('/srv/cache/bin:/usr/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin:/bin');
  });
});

describe('the assembled /etc', () => {
  it('has every piece of the base system, and nothing else', () => {
    const { files, entries, mounts } = assemble(plan());
    expect(entries).toEqual([
      { kind: 'dir', name: 'etc' },
      { kind: 'dir', name: 'etc/ssl' },
      { kind: 'take', name: 'etc/ssl/certs', source: '/etc/ssl/certs' },
    ]);
    expect(files.map((file) => file.name)).toContain('etc/passwd');
    expect(mounts.filter((mount) => mount.target.startsWith('/etc')).map((mount) => mount.kind)).toEqual([
      'dir',
    ]);
    const pieces = plan().view.filter((mount) => mount.target.startsWith('/etc'));
    expect(files.length + entries.length).toBe(pieces.length);
  });

  it('leaves a tree of the policy to bubblewrap, with a place to stand', () => {
    const tree = { target: '/etc/app', source: '/srv/app', writable: false, rule: 'read' };
    const view = { ...FACTS.view, trees: [tree, ...FACTS.view.trees] };
    const { entries, mounts } = assemble(compilePlan(POLICY, { ...FACTS, view }));
    expect(entries.at(-1)).toEqual({ kind: 'point', name: 'etc/app', source: '/srv/app' });
    expect(mounts.find((mount) => mount.target === '/etc/app')).toMatchObject({
      kind: 'bind',
      source: '/srv/app',
    });
    const order = mounts.map((mount) => mount.target);
    expect(order.indexOf('/etc')).toBeLessThan(order.indexOf('/etc/app'));
  });
});

describe('the bubblewrap command line', () => {
  it('of that plan is the one on record', () => {
    expect(args()).toEqual(golden('bubblewrap.json'));
  });

  it('always takes every namespace, every capability and the environment away', () => {
    const flags = [
      '--unshare-user',
      '--unshare-pid',
      '--unshare-ipc',
      '--unshare-uts',
      '--unshare-cgroup',
      '--disable-userns',
      '--die-with-parent',
      '--clearenv',
    ];
    for (const flag of flags) expect(args()).toContain(flag);
    expect(args().join(' ')).toContain('--cap-drop ALL');
    expect(args().join(' ')).not.toMatch(/--share-net|--cap-add|--dev-bind|--keep-caps/);
  });
});
