import { GloveboxError } from '../../base/errors.ts';
import type { SourceContext } from '../contract.ts';
import { secretValue } from '../value.ts';

/** The value of a variable of the host's environment, as it is. */
export function readEnvSource(name: string, context: Pick<SourceContext, 'env'>): Buffer {
  const value = context.env[name];
  if (value === undefined || value === '')
    throw new GloveboxError('E_CREDENTIAL_SOURCE', { what: `the variable ${name} is not set` });
  return secretValue(Buffer.from(value), `the variable ${name}`, 'keep');
}
