import type { CredentialPolicy, NetworkPolicy } from '../contract.ts';
import { buildFragment } from '../fragment.ts';
import { mergePolicy } from '../merge.ts';
import { parsePolicyFile } from '../parse.ts';
import { problemsError, type PolicyProblem } from '../problems.ts';
import { checkReferences } from '../references.ts';
import { checkDocument, isProblems } from '../schema-errors.ts';

/** What one document alone says about the network. */
export interface LoadedDocument {
  readonly network: NetworkPolicy;
  readonly credentials: readonly CredentialPolicy[];
  readonly notices: readonly string[];
}

const HOME = '/home/user';
const WORKSPACE = '/home/user/work';

/**
 * Loads a document as the only layer, as the user's own, without looking at this machine.
 *
 * @throws E_POLICY_INVALID with all problems
 */
export function loadDocument(document: object): LoadedDocument {
  const parsed = parsePolicyFile('policy.json', Buffer.from(JSON.stringify(document, null, 1)));
  const doc = checkDocument(parsed);
  if (isProblems(doc)) throw problemsError(doc);
  const problems: PolicyProblem[] = [];
  const fragment = buildFragment(doc, {
    parsed,
    layer: 'user',
    label: 'user',
    from: { home: HOME, base: WORKSPACE },
    problems,
  });
  if (problems.length > 0) throw problemsError(problems);
  checkReferences([fragment], { all: [] });
  const { policy, notices } = mergePolicy({
    fragments: [fragment],
    workspace: WORKSPACE,
    home: HOME,
    own: [],
    layers: [],
  });
  return { network: policy.network, credentials: policy.credentials, notices };
}
