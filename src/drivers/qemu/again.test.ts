import { describe, expect, it } from 'vitest';
import { GloveboxError } from '../../base/errors.ts';
import { bootTwice } from './again.ts';

const silent = (): GloveboxError =>
  new GloveboxError('E_SANDBOX_START', { what: 'it ended', context: { silent: true } });

/** Boots that fail with these errors, one after the other, and then one that answers. */
async function booted(
  ...failures: readonly Error[]
): Promise<{ boots: number; notes: number; result: unknown }> {
  const left = [...failures];
  let boots = 0;
  let notes = 0;
  const boot = async (): Promise<string> => {
    boots++;
    const failure = left.shift();
    if (failure !== undefined) throw failure;
    return 'up';
  };
  const result = await bootTwice(boot, { notice: () => notes++ }).catch((error: unknown) => error);
  return { boots, notes, result };
}

describe('a machine that ends while it boots', () => {
  it('is booted once more when it said nothing, and that is told', async () => {
    expect(await booted(silent())).toEqual({ boots: 2, notes: 1, result: 'up' });
  });

  it('is not booted a third time', async () => {
    const last = silent();
    expect(await booted(silent(), last)).toEqual({ boots: 2, notes: 1, result: last });
  });

  it('is not booted again when there is a reason', async () => {
    const reason = new GloveboxError('E_SANDBOX_START', { what: 'a panic', context: { silent: false } });
    expect(await booted(reason)).toEqual({ boots: 1, notes: 0, result: reason });
    const other = new Error('a defect');
    expect(await booted(other)).toEqual({ boots: 1, notes: 0, result: other });
  });
});
