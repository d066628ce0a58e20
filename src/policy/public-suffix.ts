import { parse } from 'tldts';

/**
 * Why a wildcard over this name would reach everybody's hosts: it is in the Public Suffix List, among the registries' domains or
 * among those of companies whose customers publish under them. Undefined when it is neither.
 */
export function sharedSuffix(name: string): { readonly why: string; readonly hint: string } | undefined {
  const found = parse(name, { allowPrivateDomains: true, validateHostname: false });
  if (found.publicSuffix !== name) return undefined;
  if (found.isIcann === true)
    return {
      why: `${name} is a public suffix: everybody registers names there`,
      hint: `write *.yourname.${name}`,
    };
  if (found.isPrivate !== true) return undefined;
  return {
    why: `anybody can publish under ${name}`,
    hint: `write the exact host, such as yourname.${name}`,
  };
}
