import { GloveboxError } from '../base/errors.ts';
import { printablePath } from '../base/path-bytes.ts';

/** What is wrong with an archive, layer or document that somebody else made. */
export function invalid(what: string, why?: string, cause?: unknown): GloveboxError {
  return new GloveboxError('E_IMAGE_INVALID', {
    what,
    ...(why === undefined ? {} : { why }),
    ...(cause === undefined ? {} : { cause }),
  });
}

/** An image that passes one of the bounds in `CAPS`. */
export function tooLarge(what: string, why: string): GloveboxError {
  return new GloveboxError('E_IMAGE_TOO_LARGE', { what, why });
}

/** A name from an image for a message: cut and printable. */
export function shown(name: string): string {
  const text = printablePath(name);
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
