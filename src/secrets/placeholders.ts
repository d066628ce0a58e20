import { randomBytes } from 'node:crypto';
import { ALPHABETS, AWS_SHAPES, GENERIC, SHAPES } from './shapes.ts';
import type { Shape } from './shapes.ts';

/** What a placeholder is made for. */
export interface PlaceholderRequest {
  /** Name of the credential. */
  readonly credential: string;
  readonly field: string;
  /** Variables that will hold it. */
  readonly variables: readonly string[];
  /** From the policy; stands above every known shape. */
  readonly prefix?: string;
  /** The real value where it is loaded: its published prefix is taken over, and its length where that leaves enough room. */
  readonly secret?: Uint8Array;
}

/** Letters after a prefix without a known shape: 22 of base62 are 130 bits. */
const LEAST_LETTERS = 22;
/** A placeholder as long as its secret keeps the length of a scrubbed answer; beyond this it would only be a burden. */
const LENGTH_MAX = 256;
/** A longer one is a secret put in the wrong line of the policy. */
const PREFIX_MAX = 64;
/** Key ids of AWS that come with a session token; SDKs tell them by it. */
const TEMPORARY_KEY = 'ASIA';

/** A text that a client's own check takes for a credential, with at least 128 random bits, and that is worth nothing anywhere else. */
export function createPlaceholder(request: PlaceholderRequest): string {
  const shape = shapeOf(request);
  const usual = shape.prefix + shape.parts.map(writePart).join('');
  const wanted = request.secret?.length ?? 0;
  // Known shapes have lengths of their own, which clients check.
  const known = SHAPES.includes(shape) || shape === AWS_SHAPES[request.field];
  if (known || wanted > LENGTH_MAX || wanted - shape.prefix.length < LEAST_LETTERS) return usual;
  return shape.prefix + randomText(ALPHABETS.base62, wanted - shape.prefix.length);
}

function shapeOf(request: PlaceholderRequest): Shape {
  const { prefix, field, credential, variables } = request;
  if (prefix !== undefined) return ownShape(prefix.slice(0, PREFIX_MAX));
  const aws = Object.hasOwn(AWS_SHAPES, field) ? AWS_SHAPES[field] : undefined;
  const secret = Buffer.from(request.secret?.subarray(0, PREFIX_MAX) ?? []).toString('latin1');
  if (aws !== undefined) return secret.startsWith(TEMPORARY_KEY) ? { ...aws, prefix: TEMPORARY_KEY } : aws;
  const byValue = SHAPES.find((shape) => secret.startsWith(shape.prefix));
  if (byValue !== undefined) return byValue;
  const names = [...variables, credential].map((name) => name.toUpperCase().replaceAll(/[^A-Z0-9]/g, '_'));
  const byName = SHAPES.find((shape) => names.some((name) => shape.names?.test(name) === true));
  return byName ?? GENERIC;
}

function ownShape(prefix: string): Shape {
  const known = SHAPES.find((shape) => shape.prefix === prefix);
  return known ?? { prefix, parts: [['base62', 43]] };
}

function writePart(part: Shape['parts'][number]): string {
  return typeof part === 'string' ? part : randomText(ALPHABETS[part[0]], part[1]);
}

/** Every letter equally likely: bytes beyond the last whole multiple of the alphabet are thrown away. */
function randomText(alphabet: string, length: number): string {
  const limit = 256 - (256 % alphabet.length);
  let text = '';
  while (text.length < length) {
    for (const byte of randomBytes(length - text.length + 8)) {
      if (byte < limit && text.length < length) text += alphabet.charAt(byte % alphabet.length);
    }
  }
  return text;
}
