import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { isGloveboxError } from '../../base/errors.ts';
import { caught } from '../../policy/fixture.ts';
import { findFirecracker, parseVersion, requireConsent } from './probe.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(path.join(tmpdir(), 'glovebox-fc-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A program that says this of itself. */
function program(text: string): string {
  const file = path.join(dir, 'firecracker');
  writeFileSync(file, `#!/bin/sh\nprintf '%s\\n' '${text}'\n`);
  chmodSync(file, 0o755);
  return file;
}

/** A file that can be opened for reading and writing, as /dev/kvm is where it works. */
function openable(): string {
  const file = path.join(dir, 'kvm');
  writeFileSync(file, '');
  return file;
}

async function refusal(env: NodeJS.ProcessEnv, kvm: string): Promise<unknown> {
  const found = findFirecracker(env, '/nonexistent', kvm);
  return found.then(
    (one) => one,
    (error: unknown) => {
      if (isGloveboxError(error)) return error;
      throw error;
    },
  );
}

describe('findFirecracker', () => {
  it('finds the one that the variable names, with its version', async () => {
    const file = program('Firecracker v1.10.1\n\nexiting');
    expect(await refusal({ GLOVEBOX_FIRECRACKER: file }, openable())).toEqual({
      path: file,
      version: '1.10.1',
    });
    expect(await refusal({ PATH: dir }, openable())).toMatchObject({ path: file });
  });

  it.each([
    ['another program', 'QEMU emulator version 10.0.2', /is not Firecracker$/],
    ['an old one', 'Firecracker v1.7.0', /is 1\.7\.0; 1\.8 or newer is needed$/],
    ['an ancient one', 'Firecracker v0.25.2', /is 0\.25\.2; 1\.8 or newer is needed$/],
  ])('refuses %s', async (_name, text, why) => {
    const error = await refusal({ GLOVEBOX_FIRECRACKER: program(text) }, openable());
    expect(error).toMatchObject({ code: 'E_TIER_UNAVAILABLE', why: expect.stringMatching(why) });
  });

  it('refuses a machine without the program, and says what to do', async () => {
    const error = await refusal({ GLOVEBOX_FIRECRACKER: path.join(dir, 'none') }, openable());
    expect(error).toMatchObject({
      code: 'E_TIER_UNAVAILABLE',
      what: 'the vm tier cannot start with driver firecracker',
      next: expect.stringContaining('`driver: qemu`'),
    });
  });

  it('refuses a machine without KVM', async () => {
    const error = await refusal(
      { GLOVEBOX_FIRECRACKER: program('Firecracker v1.8.0') },
      path.join(dir, 'none'),
    );
    expect(error).toMatchObject({
      code: 'E_TIER_UNAVAILABLE',
      why: expect.stringContaining('Firecracker runs on KVM alone'),
    });
  });

  it('refuses even where both are there, until somebody asks for what is unverified', () => {
    const found = { path: '/usr/bin/firecracker', version: '1.10.1' };
    for (const env of [{}, { GLOVEBOX_UNVERIFIED: '' }, { GLOVEBOX_UNVERIFIED: '1' }])
      expect(caught(() => requireConsent(found, env))).toMatchObject({
        code: 'E_TIER_UNAVAILABLE',
        why: expect.stringContaining('unverified'),
        next: expect.stringContaining('GLOVEBOX_UNVERIFIED=firecracker'),
      });
    requireConsent(found, { GLOVEBOX_UNVERIFIED: 'firecracker' });
  });
});

describe('parseVersion', () => {
  it('reads releases and builds of a branch, and nothing else', () => {
    expect(parseVersion('Firecracker v1.13.0\n')).toBe('1.13.0');
    expect(parseVersion('Firecracker v1.14.0-dev\n')).toBe('1.14.0');
    for (const text of ['', 'v1.2.3', 'Firecracker', 'Firecracker v1', 'jailer v1.13.0'])
      expect(parseVersion(text)).toBeUndefined();
  });
});
