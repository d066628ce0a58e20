import type { BaseSystem } from './contract.ts';
import { pathProblem, resolvePath, type PathBase } from './path-text.ts';

/** `image:NAME`; whether there is one of that name, the store says. */
const IMAGE = /^image:[a-z0-9][A-Za-z0-9._/:-]{0,199}$/;

/** What `filesystem.base` may be, for messages. */
export const BASE_EXPECTED = 'host, image:NAME or a directory';

/** Why a text cannot be a base system, or undefined when it can. */
export function baseProblem(text: string): string | undefined {
  if (text === 'host' || IMAGE.test(text)) return undefined;
  if (text.startsWith('image:'))
    return 'the name of an image is of lower-case letters, digits, ".", "_", "-" and "/"';
  if (!/^(?:\/|\.\.?\/|~)/.test(text)) return 'a directory begins with "/", "./", "../" or "~/"';
  return pathProblem(text, 'read', true)?.why;
}

/** In its one form. Preconditions: `baseProblem` found nothing. */
export function resolveBase(text: string, from: PathBase): string {
  return text === 'host' || text.startsWith('image:') ? text : resolvePath(text, from);
}

/** `--image`: a path is a directory, anything else a name. */
export function optionBase(text: string): string {
  return text === 'host' || /^(?:\/|\.\.?\/|~|image:)/.test(text) ? text : `image:${text}`;
}

/** Undefined: the host's own. */
export function baseOf(text: string): BaseSystem | undefined {
  if (text === 'host') return undefined;
  return text.startsWith('image:')
    ? { kind: 'image', name: text.slice('image:'.length) }
    : { kind: 'directory', path: text };
}

export function baseText(base: BaseSystem | undefined): string {
  if (base === undefined) return 'host';
  return base.kind === 'image' ? `image:${base.name}` : base.path;
}
