import { describe, expect, it } from 'vitest';
import type { CommandLineLayer } from '../policy/contract.ts';
import { caught, PolicyFixture } from '../policy/fixture.ts';
import { resolvePolicy } from '../policy/resolve.ts';
import { chooseTier, environmentDriver, type TierChoice } from './choose.ts';

/** What is chosen for a user's policy, the options of a run and the environment. */
function chosen(policy: string, options: CommandLineLayer, driver?: string): TierChoice {
  using fixture = new PolicyFixture();
  fixture.user(`version: 1\n${policy}`);
  return chooseTier(resolvePolicy(fixture.context, options).policy, { GLOVEBOX_DRIVER: driver });
}

describe('the driver', () => {
  it('of the process tier is bubblewrap, whatever is said of containers', () => {
    const process = { tier: 'process', driver: 'bubblewrap' };
    expect(chosen('', {}, 'docker')).toEqual(process);
    expect(chosen('driver: podman', {})).toEqual(process);
    expect(chosen('tier: auto', {}, 'docker')).toMatchObject(process);
  });

  it('of the container tier is gVisor, what the environment names, what a policy names: the later counts', () => {
    const container = { tier: 'container' } as const;
    expect(chosen('', container)).toEqual({ tier: 'container', driver: 'gvisor' });
    expect(chosen('', container, '')).toEqual({ tier: 'container', driver: 'gvisor' });
    expect(chosen('', container, 'podman')).toEqual({ tier: 'container', driver: 'podman' });
    expect(chosen('driver: docker', container)).toEqual({ tier: 'container', driver: 'docker' });
    expect(chosen('', { ...container, driver: 'docker' }, 'podman')).toEqual({
      tier: 'container',
      driver: 'docker',
    });
  });

  it('of the environment that a policy overrules is told of', () => {
    expect(chosen('tier: container\ndriver: gvisor', {}, 'docker')).toEqual({
      tier: 'container',
      driver: 'gvisor',
      notice: 'GLOVEBOX_DRIVER=docker does not count: the policy has driver gvisor',
    });
  });

  it('of the vm tier is QEMU, or what a policy names', () => {
    const vm = { tier: 'vm' } as const;
    expect(chosen('', vm)).toEqual({ tier: 'vm', driver: 'qemu' });
    expect(chosen('driver: qemu', vm)).toEqual({ tier: 'vm', driver: 'qemu' });
    expect(chosen('driver: firecracker', vm)).toEqual({ tier: 'vm', driver: 'firecracker' });
    expect(chosen('', { ...vm, driver: 'firecracker' })).toEqual({ tier: 'vm', driver: 'firecracker' });
    expect(chosen('driver: docker', vm)).toEqual({ tier: 'vm', driver: 'qemu' });
    expect(chosen('', vm, 'docker')).toEqual({ tier: 'vm', driver: 'qemu' });
  });

  it('of another tier leaves a container with gVisor, whatever the environment says', () => {
    for (const driver of ['qemu', 'firecracker'])
      expect(chosen(`driver: ${driver}`, { tier: 'container' }, 'docker')).toEqual({
        tier: 'container',
        driver: 'gvisor',
        notice: `GLOVEBOX_DRIVER=docker does not count: the policy has driver ${driver}`,
      });
  });

  it('that is asked for by an option is not left aside in a tier without one', () => {
    for (const tier of ['process', 'auto'] as const)
      expect(caught(() => chosen('', { tier, driver: 'gvisor' }))).toMatchObject({
        code: 'E_USAGE',
        what: `the driver gvisor was asked for, and the tier is ${tier}`,
      });
    expect(caught(() => chosen('', { tier: 'container', driver: 'firecracker' }))).toMatchObject({
      code: 'E_USAGE',
      next: 'Ask for the tier too: --tier vm.',
    });
    expect(caught(() => chosen('', { tier: 'vm', driver: 'docker' }))).toMatchObject({
      code: 'E_USAGE',
      next: 'Ask for the tier too: --tier container.',
    });
  });

  it('is one of three, in the environment too', () => {
    expect(caught(() => environmentDriver({ GLOVEBOX_DRIVER: 'Docker' }))).toMatchObject({
      code: 'E_USAGE',
      what: 'GLOVEBOX_DRIVER is "Docker"',
      next: 'Did you mean docker?',
    });
  });
});
