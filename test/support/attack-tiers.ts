import { accessSync, constants, lstatSync, mkdirSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { inject, it } from 'vitest';
import type { TestBox } from './box.ts';

/** `docker` is the container tier by Docker with its usual runtime: the host's kernel, so its answers are those of the process tier. */
export type AttackTier = 'process' | 'container' | 'vm' | 'vm+gvisor' | 'docker';

/** The tiers that every attack is tried in; `GLOVEBOX_TEST_TIERS=container` leaves the others out. */
export const TIERS: readonly AttackTier[] = (
  ['process', 'container', 'vm', 'vm+gvisor', 'docker'] as const
).filter((tier) => (process.env['GLOVEBOX_TEST_TIERS'] ?? 'process,container').split(',').includes(tier));

/** Where QEMU translates every instruction, a busy machine takes its time. */
export const PATIENCE_MS: Readonly<Record<AttackTier, number>> = {
  process: 60_000,
  container: 60_000,
  docker: 60_000,
  vm: 180_000,
  'vm+gvisor': 360_000,
};

/**
 * One attack, tried in every tier. `needs` lists what is missing here (undefined: nothing): the test is then skipped with
 * the missing piece in its name.
 */
export function forEachTier(
  name: string,
  attack: (tier: AttackTier) => Promise<void>,
  needs: readonly (string | undefined)[] = [],
  tiers: readonly AttackTier[] = TIERS,
): void {
  for (const tier of tiers) {
    const refused = BEYOND[tier]?.get(name);
    const missing = [tierNeeds(tier), refused, ...needs].filter((need) => need !== undefined);
    if (missing.length > 0) it.skip(`[${tier}] ${name} (skipped: ${missing.join(', ')})`, () => undefined);
    else it(`[${tier}] ${name}`, { timeout: PATIENCE_MS[tier] }, () => attack(tier));
  }
}

const LINKS = 'an engine follows links: such a rule is refused, see docker-refuses.test.ts';

/** What an engine cannot do, and is not asked for: src/drivers/docker/README.md. */
const BEYOND_ENGINES: ReadonlyMap<string, string> = new Map([
  ['a protected link is held in place, and so is its target', LINKS],
  ['the absent target of a protected link cannot be created', LINKS],
  ['a rule on a link, or through a linked directory, covers the real file', LINKS],
  [
    'a deny glob covers files with odd names',
    'an engine takes only UTF-8: refused, see docker-refuses.test.ts',
  ],
  [
    '/sys, cgroupfs, debugfs and securityfs are not there',
    'an empty /sys/fs/cgroup is: see docker-walls.test.ts',
  ],
]);

const BEYOND: Readonly<Partial<Record<AttackTier, ReadonlyMap<string, string>>>> = {
  docker: BEYOND_ENGINES,
};

/** What this tier lacks on this machine. */
export function tierNeeds(tier: AttackTier): string | undefined {
  const jail = needsProgram('bwrap');
  if (tier === 'docker') return jail ?? inject('dockerMissing');
  if (tier === 'vm') return jail ?? inject('machineMissing');
  if (tier === 'vm+gvisor') return jail ?? inject('machineMissing') ?? needsProgram('runsc');
  return tier === 'process' ? jail : (jail ?? needsProgram('runsc') ?? inject('guestMissing'));
}

/** The tier as a policy names it. */
export function policyTier(tier: AttackTier): 'process' | 'container' | 'vm' | 'vm+gvisor' {
  return tier === 'docker' ? 'container' : tier;
}

/** What makes a run of this tier use its engine. */
export function engineEnv(tier: AttackTier): Readonly<Record<string, string>> {
  const host = tier === 'docker' ? inject('dockerHost') : undefined;
  return host === undefined ? {} : { GLOVEBOX_DRIVER: 'docker', DOCKER_HOST: host };
}

/** Whether it is gVisor's kernel that answers. */
export const isGuest = (tier: AttackTier): boolean => tier === 'container' || tier === 'vm+gvisor';

/** The least that `--memory` may be: below it the tier refuses to start. */
export const leastMemory = (tier: AttackTier): string => (tier === 'vm+gvisor' ? '192MiB' : '128MiB');

/** Answers that only a guest kernel gives; docs/design/container.md has each of them with its reason. */
export function inGuest(tier: AttackTier, ...answers: readonly string[]): readonly string[] {
  return isGuest(tier) ? answers : [];
}

/** What machines boot is made once for all boxes, instead of once in the cache of each. */
export function lendMachines(box: TestBox): void {
  const place = path.join(box.home, '.cache/glovebox/machine');
  if (lstatSync(place, { throwIfNoEntry: false }) !== undefined) return;
  mkdirSync(path.dirname(place), { recursive: true, mode: 0o700 });
  symlinkSync(inject('machineCache'), place);
}

/** Answers that only a machine gives; docs/design/microvm.md has each of them with its reason. */
export function inMachine(tier: AttackTier, ...answers: readonly string[]): readonly string[] {
  return isMachine(tier) ? answers : [];
}

/** A tier whose kernel QEMU executes. */
export function isMachine(tier: AttackTier): boolean {
  return tier === 'vm' || tier === 'vm+gvisor';
}

/** What to hand to `forEachTier` for a program that may be absent on this machine. */
export function needsProgram(name: string): string | undefined {
  const dirs = [...(process.env['PATH'] ?? '').split(':'), '/usr/bin', '/usr/sbin'];
  return dirs.some((dir) => isExecutable(path.join(dir, name))) ? undefined : `${name} is not installed`;
}

export function needsArch(arch: NodeJS.Architecture): string | undefined {
  return process.arch === arch ? undefined : `${arch} only`;
}

export const isRoot = process.getuid?.() === 0;

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
