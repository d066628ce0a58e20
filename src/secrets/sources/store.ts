import { GloveboxError } from '../../base/errors.ts';
import type { SourceContext } from '../contract.ts';
import { openStore } from '../store.ts';
import { secretValue } from '../value.ts';

/** A secret that `glovebox secrets set` kept. */
export async function readStoreSource(name: string, context: SourceContext): Promise<Buffer> {
  const value = await openStore(context).get(name);
  if (value === undefined) {
    throw new GloveboxError('E_CREDENTIAL_SOURCE', {
      what: `the store has no secret ${name}`,
      next: `Run \`glovebox secrets set ${name}\`.`,
    });
  }
  return secretValue(value, `the secret ${name} of the store`, 'keep');
}
