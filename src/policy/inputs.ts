import { GloveboxError } from '../base/errors.ts';
import { readSmallFile, type FileKind } from './files.ts';

/** A file that a resolved policy was made from. */
export interface Input {
  readonly path: string;
  readonly kind: FileKind;
  /** SHA-256 of its bytes, `absent`, or `unusable` for a file of a workspace that is none. */
  readonly state: string;
}

/**
 * Reads the present state of an input.
 *
 * @throws E_POLICY_INVALID, E_IO for an unusable file of the person or the organisation
 */
export function inputState(path: string, kind: FileKind): Input {
  try {
    return { path, kind, state: readSmallFile(path, kind)?.sha256 ?? 'absent' };
  } catch (error) {
    if (error instanceof GloveboxError && (kind === 'foreign' || kind === 'private'))
      return { path, kind, state: 'unusable' };
    throw error;
  }
}
