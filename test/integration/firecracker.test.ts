import { describe, expect, it } from 'vitest';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { Sandbox } from '../../src/index.ts';
import { TestBox } from '../support/box.ts';
import { registeredIds } from '../support/sdk.ts';
import { expectNothingLeft } from '../support/tree.ts';

describe('driver firecracker', () => {
  const refusal = async (box: TestBox, program: string): Promise<unknown> => {
    const hostEnv = { ...box.env(), GLOVEBOX_FIRECRACKER: program };
    const made = Sandbox.create({ tier: 'vm', driver: 'firecracker', workspace: box.workspace, hostEnv });
    return made.then(
      async (sandbox) => {
        await sandbox.kill();
        return 'started';
      },
      (error: unknown) => error,
    );
  };

  it('is refused with what is missing, takes no other driver instead, and leaves nothing', async () => {
    using box = new TestBox();
    expect(await refusal(box, '/nonexistent/firecracker')).toMatchObject({
      code: 'E_TIER_UNAVAILABLE',
      what: 'the vm tier cannot start with driver firecracker',
      why: expect.stringContaining('/nonexistent/firecracker'),
    });
    const program = path.join(box.base, 'firecracker');
    writeFileSync(program, '#!/bin/sh\necho Firecracker v1.13.0\n', { mode: 0o755 });
    // Where KVM can be opened it is the driver that nobody has verified, else KVM.
    expect(await refusal(box, program)).toMatchObject({
      code: 'E_TIER_UNAVAILABLE',
      why: expect.stringMatching(/the driver is unverified|\/dev\/kvm/),
    });
    await expectNothingLeft(box, 5000);
    expect(registeredIds(box)).toEqual([]);
  });
});
