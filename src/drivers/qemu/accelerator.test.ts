import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chooseAccelerator, knownAccelerator, type AcceleratorInput } from './accelerator.ts';

let dir = '';
beforeEach(() => (dir = mkdtempSync(path.join(tmpdir(), 'glovebox-accelerator-'))));
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A choice on a machine whose device is what the test says, and what it was told. */
function choice(input: Partial<AcceleratorInput>): {
  readonly input: AcceleratorInput;
  readonly said: string[];
} {
  const said: string[] = [];
  const file = path.join(dir, 'qemu');
  writeFileSync(file, '', { flag: 'a' });
  const places = {
    kernel: file,
    initrd: file,
    sockets: dir,
    scratch: dir,
    bubblewrap: file,
    agent: '/no/such/agent',
  };
  return {
    said,
    input: {
      ...places,
      qemu: file,
      arch: 'x64',
      env: {},
      cacheDir: path.join(dir, 'cache'),
      kernelHash: 'one',
      notice: (line) => void said.push(line),
      device: path.join(dir, 'kvm'),
      ...input,
    },
  };
}

describe('chooseAccelerator', () => {
  it('emulates where there is no device, and says so once', async () => {
    const { input, said } = choice({});
    expect(await chooseAccelerator(input)).toBe('tcg');
    expect(await chooseAccelerator(input)).toBe('tcg');
    expect(said).toEqual([`vm: no KVM here (there is no ${dir}/kvm), the machine is emulated: slower`]);
  });

  it('finds out anew for another kernel, another QEMU, or when the device appears', async () => {
    const { input, said } = choice({});
    await chooseAccelerator(input);
    await chooseAccelerator({ ...input, kernelHash: 'two' });
    expect(said).toHaveLength(2);
    writeFileSync(input.qemu, 'another');
    await chooseAccelerator({ ...input, kernelHash: 'two' });
    expect(said).toHaveLength(3);
    writeFileSync(path.join(dir, 'kvm'), '');
    // The device is no proof: the trial that follows has no agent to boot with.
    expect(await chooseAccelerator({ ...input, kernelHash: 'two' })).toBe('tcg');
    expect(said.at(-1)).toContain('/no/such/agent');
  });

  it('is known without a boot: what a trial has found since the host started, and else nothing', async () => {
    const { input } = choice({});
    const none = { accelerator: 'tcg', why: `there is no ${dir}/kvm` };
    expect(knownAccelerator(input)).toEqual(none);
    writeFileSync(path.join(dir, 'kvm'), '');
    expect(knownAccelerator(input)).toBeUndefined();
    expect(await chooseAccelerator(input)).toBe('tcg');
    expect(knownAccelerator(input)?.why).toContain('/no/such/agent');
    const file = path.join(input.cacheDir, 'vm-accelerator');
    writeFileSync(file, readFileSync(file, 'utf8').replace(/"boot":"[^"]+"/, '"boot":"another"'));
    expect(knownAccelerator(input)).toBeUndefined();
    expect(knownAccelerator({ ...input, env: { GLOVEBOX_VM_ACCEL: 'tcg' } })?.accelerator).toBe('tcg');
  });

  it('takes what is asked for: tcg without looking, kvm or a refusal', async () => {
    const { input, said } = choice({});
    expect(await chooseAccelerator({ ...input, env: { GLOVEBOX_VM_ACCEL: 'tcg' } })).toBe('tcg');
    expect(readdirSync(dir)).toEqual(['qemu']);
    const kvm = chooseAccelerator({ ...input, env: { GLOVEBOX_VM_ACCEL: 'kvm' } });
    await expect(kvm).rejects.toMatchObject({ code: 'E_TIER_UNAVAILABLE' });
    const other = chooseAccelerator({ ...input, env: { GLOVEBOX_VM_ACCEL: 'hvf' } });
    await expect(other).rejects.toMatchObject({
      code: 'E_TIER_UNAVAILABLE',
      why: 'GLOVEBOX_VM_ACCEL names "hvf"',
    });
    expect(said).toEqual([]);
  });

  it('goes on where nothing can be remembered', async () => {
    const { input, said } = choice({ cacheDir: '/dev/null/cache' });
    expect(await chooseAccelerator(input)).toBe('tcg');
    expect(await chooseAccelerator(input)).toBe('tcg');
    expect(said).toHaveLength(2);
  });
});
