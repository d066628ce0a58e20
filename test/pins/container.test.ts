import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { jailArgs, runtimeArgs } from '../../src/drivers/gvisor/args.ts';
import { containerSpec, guestBoot, jailBoot } from '../../src/drivers/gvisor/boot.ts';
import { layoutOf } from '../../src/drivers/gvisor/layout.ts';
import { ociSpec } from '../../src/drivers/gvisor/spec.ts';
import type { Plan } from '../../src/drivers/contract.ts';
import { compilePlan } from '../../src/drivers/plan.ts';
import { FACTS, POLICY } from './sample.ts';

/** A change here is a change of what every container is: look at the difference, then write the file again. */
const golden = (name: string): unknown =>
  JSON.parse(readFileSync(path.join(import.meta.dirname, 'golden', name), 'utf8'));

const containerPlan = (): Plan => compilePlan(POLICY, { ...FACTS, tier: 'container', driver: 'gvisor' });

const INPUT = {
  agent: '/opt/glovebox/agent',
  runsc: '/usr/bin/runsc',
  bubblewrap: '/usr/bin/bwrap',
  scratch: '/run/user/1000/glovebox/scratch',
  platform: 'systrap',
  cgroups: [],
  files: 4096,
} as const;

const BOOT = {
  seccomp: Uint8Array.of(1),
  limits: [],
  placeholders: new Map(),
  identities: [{ path: '/srv/cache', ino: 7n, major: 8, minor: 1 }],
};

describe('the container of a fixed plan', () => {
  it('is the one on record', () => {
    const plan = containerPlan();
    expect({
      oci: ociSpec({ plan, files: INPUT.files }),
      bubblewrap: jailArgs({ ...INPUT, plan }),
      runsc: runtimeArgs(INPUT),
    }).toEqual(golden('container.json'));
  });

  it('gives the guest no capability that reaches the host, and its own user no privilege', () => {
    const { process } = ociSpec({ plan: containerPlan(), files: INPUT.files });
    expect(process.noNewPrivileges).toBe(true);
    expect(process.capabilities.bounding).toEqual(['CAP_NET_ADMIN', 'CAP_NET_BIND_SERVICE', 'CAP_CHOWN']);
    expect([process.capabilities.ambient, process.capabilities.inheritable]).toEqual([[], []]);
    const boot = guestBoot({ ...BOOT, plan: containerPlan() });
    expect(boot.keepCapabilities).toBeUndefined();
    expect(boot.guest?.identity).toEqual({ uid: 1000, gid: 1000 });
  });

  it('has no network of the host, no raw sockets, and files behind the gofer alone', () => {
    const flags = runtimeArgs(INPUT);
    for (const flag of [
      '--network=none',
      '--net-raw=false',
      '--host-uds=open',
      '--directfs=false',
      '--overlay2=none',
    ])
      expect(flags).toContain(flag);
    expect(flags.join(' ')).not.toMatch(/TESTONLY|--network=host|host-uds=all/);
  });
});

describe('the layout', () => {
  it('makes empty scratch directories of the guest, and those that hold a tree of the jail', () => {
    const { jail, guest } = layoutOf(containerPlan());
    const kindOf = (target: string): string | undefined =>
      guest.find((mount) => mount.target === target)?.kind;
    expect([kindOf('/tmp'), kindOf('/dev/shm'), kindOf('/home/ada')]).toEqual(['tmpfs', 'tmpfs', 'shared']);
    expect(jail.find((mount) => mount.target === '/home/ada')?.kind).toBe('tmpfs');
    expect(jail.find((mount) => mount.target === '/tmp')?.kind).toBe('dir');
  });

  it('shares no tree twice, and none of the kernel file systems of the jail', () => {
    const { jail, guest } = layoutOf(containerPlan());
    expect(guest.map((mount) => mount.target)).not.toContain('/home/ada/project');
    expect(jail.filter((mount) => mount.kind === 'proc' || mount.kind === 'dev')).toEqual([]);
  });
});

describe('the two boots', () => {
  it('check masks and trees where the jail has them, before the runtime starts', () => {
    const boot = jailBoot(
      { ...BOOT, plan: containerPlan() },
      { platform: 'systrap', seccomp: Uint8Array.of(2) },
    );
    const paths = [...(boot.verify ?? []), ...(boot.identities ?? [])].map((entry) =>
      Buffer.from(entry.path).toString(),
    );
    expect(paths.length).toBeGreaterThan(3);
    expect(paths.every((one) => one.startsWith('/view/'))).toBe(true);
    expect(boot).toMatchObject({ mode: 'oneshot', keepCapabilities: true, seccomp: Uint8Array.of(2) });
    expect(boot.landlock).toBeUndefined();
  });

  it('give the guest every listener of the plan, and no descriptor of the host', () => {
    const plan = containerPlan();
    const exec = { argv: ['true'], env: {}, cwd: '/' };
    const boot = guestBoot({ ...BOOT, plan, exec });
    expect(boot.guest?.relay?.listeners.length).toBe(plan.network.listeners.length);
    expect(boot.mode).toBe('oneshot');
    const inherit = { ...exec, stdio: ['inherit', 'pipe', 'pipe'] as const };
    expect(() => guestBoot({ ...BOOT, plan, exec: inherit })).toThrow(/inherit/);
  });

  it('leave the jail without listeners of its own', () => {
    const spec = containerSpec({ ...INPUT, plan: containerPlan() });
    expect([spec.network, spec.listeners]).toEqual([false, undefined]);
    const config = spec.files?.find((file) => file.name === 'bundle/config.json');
    expect(JSON.parse(String(config?.content))).toEqual(
      JSON.parse(JSON.stringify(ociSpec({ plan: containerPlan(), files: 4096 }))),
    );
  });
});
