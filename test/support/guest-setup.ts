import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { locateAgent } from '../../src/agent/locate.ts';
import { isGloveboxError } from '../../src/base/errors.ts';
import { findBubblewrap } from '../../src/drivers/bubblewrap/probe.ts';
import { startDocker, type TestDocker } from './docker-daemon.ts';
import { choosePlatform, findRunsc } from '../../src/drivers/gvisor/index.ts';
import { findFileServer, findQemu } from '../../src/drivers/qemu/index.ts';
import { findKernel } from '../../src/machine/kernel/find.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** Why no guest kernel boots on this machine; absent when one does. */
    guestMissing: string | undefined;
    /** Why no Docker engine starts, when its tier was asked for; else where it listens. */
    dockerMissing: string | undefined;
    dockerHost: string | undefined;
    /** Why no machine can be booted here; absent when one can. */
    machineMissing: string | undefined;
    /** Where the tests' boxes keep what machines boot, so that it is made once. */
    machineCache: string;
  }
}

/** Boots a guest once before the tests, so that those of the container tier are skipped with what is missing here, and only then. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  project.provide('guestMissing', await whyNoGuest());
  const wanted = (process.env['GLOVEBOX_TEST_TIERS'] ?? '').split(',').includes('docker');
  const docker: TestDocker = wanted ? await startDocker() : { missing: 'not asked for' };
  const started = 'host' in docker;
  project.provide('dockerMissing', started ? undefined : docker.missing);
  project.provide('dockerHost', started ? docker.host : undefined);
  project.provide('machineMissing', whyNoMachine());
  // Not below /tmp, nor anybody's but ours: the product looks at who owns what is above its cache.
  const machineCache = mkdtempSync('/var/tmp/glovebox-machine-');
  project.provide('machineCache', machineCache);
  return async () => {
    if (started) await docker.stop();
    rmSync(machineCache, { recursive: true, force: true });
  };
}

/** Only looked for: a boot without KVM takes seconds. */
function whyNoMachine(): string | undefined {
  const { env } = process;
  try {
    findQemu(env, tmpdir());
    findKernel(env);
    return findFileServer(env, tmpdir()) === undefined ? 'virtiofsd is not installed' : undefined;
  } catch (error) {
    if (!isGloveboxError(error) || error.code !== 'E_TIER_UNAVAILABLE') throw error;
    return error.why ?? error.what;
  }
}

async function whyNoGuest(): Promise<string | undefined> {
  const { env } = process;
  const cacheDir = mkdtempSync(path.join(tmpdir(), 'glovebox-guest-'));
  try {
    const trial = {
      runsc: findRunsc(env, cacheDir),
      bubblewrap: findBubblewrap(env, cacheDir),
      agent: locateAgent(env),
    };
    await choosePlatform({ ...trial, env, cacheDir });
    return undefined;
  } catch (error) {
    if (!isGloveboxError(error) || error.code !== 'E_TIER_UNAVAILABLE') throw error;
    return error.why ?? error.what;
  } finally {
    rmSync(cacheDir, { recursive: true, force: true });
  }
}
