import { describe, expect, it } from 'vitest';
import { encodeMachineSpec } from '../../src/agent/machine.ts';
import type { Plan } from '../../src/drivers/contract.ts';
import { compilePlan } from '../../src/drivers/plan.ts';
import { machineSpec } from '../../src/drivers/qemu/boot.ts';
import { nestedMounts, runtimeBoot } from '../../src/drivers/qemu/nested.ts';
import { FACTS, POLICY } from './sample.ts';

const PLAN: Plan = compilePlan(POLICY, { ...FACTS, tier: 'vm+gvisor', driver: 'qemu' });
const NESTED = { platform: 'systrap', files: 4096 } as const;

describe('gVisor in a machine', () => {
  it('has the plan below one directory, and of the machine what it is made of', () => {
    const mounts = nestedMounts(PLAN, NESTED, { served: true });
    const outside = mounts.filter(({ target }) => !String(target).startsWith('/view/'));
    expect(outside.map(({ kind, target }) => [kind, target])).toEqual([
      ['proc', '/proc'],
      ['dev', '/dev'],
      ['dir', '/tmp'],
      ['tmpfs', '/state'],
      ['file', '/bundle/config.json'],
      ['own', '/runsc'],
    ]);
    const own = mounts.filter((mount) => mount.kind === 'own');
    expect(own.map(({ source, target }) => [source, target])).toEqual([
      ['/runsc', '/runsc'],
      ['/relay.sock', '/view/.glovebox/gateway.sock'],
      ['/init', '/view/.glovebox/agent'],
    ]);
    expect(mounts.at(-1), 'no tree covers it').toEqual(own.at(-1));
  });

  it('leaves to the guest kernel what is its own', () => {
    const below = nestedMounts(PLAN, NESTED, { served: true }).filter(({ target }) =>
      /^\/view\/(?:proc|dev|sys|tmp|var\/tmp)(?:\/|$)/.test(String(target)),
    );
    expect(new Set(below.map(({ kind }) => kind))).toEqual(new Set(['dir']));
  });

  it('shares what tier vm shares, at the same places', () => {
    const shared = (mounts: ReturnType<typeof nestedMounts>): readonly unknown[] =>
      mounts.flatMap((mount) => (mount.kind === 'share' ? [[mount.source, mount.writable]] : []));
    const machine = machineSpec(PLAN, ['base', 'view']);
    expect(shared(nestedMounts(PLAN, NESTED, { served: true }))).toEqual(shared(machine.mounts));
    expect(shared(machine.mounts).length).toBeGreaterThan(0);
    for (const mount of nestedMounts(PLAN, NESTED, { served: true }))
      if (mount.kind === 'share') expect(mount.target).toBe(`/view${String(mount.source)}`);
  });

  it('has no listener in the machine, and says that it is a runtime', () => {
    const spec = machineSpec(PLAN, ['base', 'view'], NESTED);
    expect([spec.runtime, spec.network?.listeners]).toEqual([true, []]);
    const frame = encodeMachineSpec(spec);
    // Tag 10, four bytes: flag 2.
    expect(frame.includes(Buffer.from([10, 0, 4, 0, 0, 0, 2, 0, 0, 0]))).toBe(true);
  });

  it('starts the runtime with a filter, and hands the channel on', async () => {
    const boot = await runtimeBoot(NESTED, 'x64');
    expect(boot).toMatchObject({ mode: 'oneshot', keepCapabilities: true, handChannel: true });
    expect(boot.seccomp?.length).toBeGreaterThan(0);
    expect(boot.exec?.argv).toEqual(expect.arrayContaining(['/runsc', '--network=none', '--directfs=false']));
    expect(boot.exec?.stdio).toEqual(['null', 'null', 'inherit']);
  });
});
