import { isGloveboxError } from '../../base/errors.ts';
import { findFirecracker } from '../../drivers/firecracker/index.ts';
import type { Finding } from './checks.ts';

/** The vm tier's other driver. Its absence is no lack, and its presence no strength: nobody has seen it boot a machine. */
export async function checkFirecracker(env: NodeJS.ProcessEnv): Promise<Finding> {
  const name = 'vm: Firecracker';
  try {
    const { path, version } = await findFirecracker(env, NOWHERE);
    return {
      name,
      state: 'warn',
      detail: `${version} at ${path}: the driver is unverified; QEMU is used`,
    };
  } catch (error) {
    if (!isGloveboxError(error)) throw error;
    return { name, state: 'ok', detail: `not used (unverified): ${error.why ?? error.what}` };
  }
}

/** No workspace whose programs would have to be passed over. */
const NOWHERE = '/nonexistent';
