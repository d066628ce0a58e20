import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import type { SourceContext } from '../contract.ts';
import { readFileSource } from './file.ts';

/** A credential that systemd put into the service's own directory (systemd.exec(5), LoadCredential=). */
export function readSystemdSource(name: string, context: SourceContext): Promise<Buffer> {
  const directory = context.env['CREDENTIALS_DIRECTORY'];
  if (directory === undefined || !path.isAbsolute(directory)) {
    throw new GloveboxError('E_CREDENTIAL_SOURCE', {
      what: `no systemd credential ${name}`,
      why: 'CREDENTIALS_DIRECTORY is not set: this process is no service with LoadCredential=',
    });
  }
  if (!/^[^/\0]{1,255}$/.test(name) || name === '.' || name === '..')
    throw new GloveboxError('E_CREDENTIAL_SOURCE', {
      what: 'the name of a systemd credential holds a slash',
    });
  return readFileSource(path.join(directory, name), context);
}
