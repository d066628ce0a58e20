import { GloveboxError } from '../../base/errors.ts';
import { findSandbox } from '../../sandbox/listing.ts';

/** Ids as `newId` makes them; anything else that is asked for is a name. */
const ID = /^sbx_[a-z0-9]+$/;

/** The id of a living sandbox that was named by its id or its name. @throws E_SANDBOX_NOT_FOUND for a name that none has */
export async function sandboxId(word: string, env: NodeJS.ProcessEnv): Promise<string> {
  if (ID.test(word)) return word;
  const found = await findSandbox(word, env);
  if (found !== undefined) return found.sandboxId;
  throw new GloveboxError('E_SANDBOX_NOT_FOUND', {
    what: `no living sandbox of yours has the id or name ${word}`,
    next: 'List the living ones with `glovebox list`.',
  });
}
