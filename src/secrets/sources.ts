import { GloveboxError } from '../base/errors.ts';
import type { CredentialSource } from '../policy/contract.ts';
import type { SourceContext } from './contract.ts';
import { readCommandSource } from './sources/command.ts';
import { readEnvSource } from './sources/env.ts';
import { readFileSource } from './sources/file.ts';
import { readStoreSource } from './sources/store.ts';
import { readSystemdSource } from './sources/systemd.ts';

/**
 * Reads one secret. The buffer is the caller's, who overwrites it when done.
 *
 * @throws E_CREDENTIAL_SOURCE when there is nothing to read, E_CREDENTIAL_INVALID when it cannot be a secret. Neither message holds
 * anything that the source gave.
 */
export async function readSource(source: CredentialSource, context: SourceContext): Promise<Buffer> {
  switch (source.kind) {
    case 'env':
      return readEnvSource(source.name, context);
    case 'file':
      return readFileSource(source.path, context);
    case 'command':
      return readCommandSource(source.argv, context);
    case 'systemd':
      return readSystemdSource(source.name, context);
    case 'store':
      return readStoreSource(source.name, context);
    default:
      // A policy of another version reaches this; the types do not.
      throw new GloveboxError('E_CREDENTIAL_SOURCE', { what: 'unknown kind of credential source' });
  }
}
