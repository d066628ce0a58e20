import type { CredentialPolicy } from '../policy/contract.ts';
import { bodyForm, swapBody } from './body-swap.ts';
import type { OutgoingRequest } from './contract.ts';
import { bodyOwners } from './homes.ts';
import type { Keyring } from './keyring.ts';

/** What stands in a body that secrets may go into. */
export interface BodyPlaceholders {
  /** Credentials whose placeholder is a whole value there. */
  readonly owners: readonly string[];
  /** The body without those values. */
  readonly rest: Buffer | undefined;
}

/** Finds the whole values of a body that are placeholders. */
export function findInBody(
  keyring: Keyring,
  request: OutgoingRequest,
  swappable: readonly CredentialPolicy[],
): BodyPlaceholders {
  const { body } = request;
  const form = body === undefined ? undefined : bodyForm(request.headers);
  if (body === undefined || form === undefined) return { owners: [], rest: body };
  const owners: string[] = [];
  let rest = body;
  for (const { name } of bodyOwners(swappable, request)) {
    const texts = [...(keyring.get(name)?.placeholders.values() ?? [])];
    const empty = texts.map((placeholder) => ({ placeholder, secret: new Uint8Array() }));
    const without = swapBody(rest, form, empty);
    if (!without.equals(rest)) owners.push(name);
    rest = without;
  }
  return { owners, rest };
}

/** The body with the secrets of `owners` put in. */
export function writeBody(
  keyring: Keyring,
  request: OutgoingRequest,
  owners: readonly string[],
  secrets: ReadonlyMap<string, ReadonlyMap<string, Buffer>>,
): Buffer | undefined {
  if (request.body === undefined) return undefined;
  const form = bodyForm(request.headers);
  if (form === undefined) return request.body;
  const swaps = owners.flatMap((name) =>
    [...(keyring.get(name)?.placeholders ?? [])].flatMap(([field, placeholder]) => {
      const secret = secrets.get(name)?.get(field);
      return secret === undefined ? [] : [{ placeholder, secret }];
    }),
  );
  return swapBody(request.body, form, swaps);
}
