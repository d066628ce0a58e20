import { isWithin, printablePath } from '../base/path-bytes.ts';
import type { NetworkDeny, NetworkRule } from './contract.ts';
import { credentialReferences } from './credential-references.ts';
import type { Fragment } from './layer-types.ts';
import { problemsError, quoteValue, type PolicyProblem } from './problems.ts';

/** Directories that Glovebox keeps files in; a sandbox is put together in `runtime`, which is one of them. */
export interface OwnDirectories {
  readonly all: readonly string[];
  readonly runtime?: string;
}

/**
 * Checks what no single file can tell: credentials that rules name, ids that two rules share, paths in Glovebox's own directories, and paths that
 * would hide from Glovebox itself the one that sandboxes are put together in.
 *
 * @throws E_POLICY_INVALID with all problems
 */
export function checkReferences(fragments: readonly Fragment[], own: OwnDirectories): void {
  const problems = [
    ...credentialReferences(fragments),
    ...idProblems(fragments),
    ...ownProblems(fragments, own),
  ];
  if (problems.length > 0) throw problemsError(problems);
}

/** Ids that a person wrote: records would not say which of two rules decided. */
function* idProblems(fragments: readonly Fragment[]): Generator<PolicyProblem> {
  const seen = new Map<string, NetworkRule | NetworkDeny>();
  const rules = fragments.flatMap((fragment): readonly (NetworkRule | NetworkDeny)[] => [
    ...(fragment.allow ?? []),
    ...(fragment.netDeny ?? []),
  ]);
  for (const rule of rules) {
    const earlier = seen.get(rule.id);
    const written = !rule.id.includes('/');
    if (earlier === undefined) seen.set(rule.id, rule);
    else if (written)
      yield {
        ...placeOf(rule),
        key: 'id',
        found: quoteValue(rule.id),
        expected: 'an id of its own',
        why: `${earlier.origin.position?.file}:${earlier.origin.position?.line} has it already`,
      };
  }
}

function* ownProblems(fragments: readonly Fragment[], own: OwnDirectories): Generator<PolicyProblem> {
  for (const use of ['read', 'write'] as const) {
    for (const rule of fragments
      .filter((fragment) => fragment.layer !== 'organisation')
      .flatMap((fragment) => fragment[use] ?? [])) {
      const dir = own.all.find((candidate) => isWithin(rule.path, candidate));
      const { runtime } = own;
      const held = dir ?? (runtime !== undefined && isWithin(runtime, rule.path) ? runtime : undefined);
      if (held === undefined) continue;
      yield {
        ...placeOf(rule),
        key: `filesystem.${use}`,
        found: quoteValue(rule.path),
        expected: dir === undefined ? 'what you need below it' : 'another path',
        why:
          dir === undefined
            ? `Glovebox puts sandboxes together in ${printablePath(held)}; XDG_RUNTIME_DIR can name another place`
            : `Glovebox keeps its own files in ${printablePath(held)}`,
      };
    }
  }
}

function placeOf(rule: Pick<NetworkRule, 'origin'>): Pick<PolicyProblem, 'position'> {
  return rule.origin.position === undefined ? {} : { position: rule.origin.position };
}
