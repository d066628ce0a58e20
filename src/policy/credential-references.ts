import type { CredentialPolicy, NetworkRule, Origin } from './contract.ts';
import type { Fragment } from './layer-types.ts';
import { quoteValue, type PolicyProblem } from './problems.ts';

/** What no single entry can tell about credentials: names that nobody defined, hosts that do not fit, variables that two would fill. */
export function* credentialReferences(fragments: readonly Fragment[]): Generator<PolicyProblem> {
  // The organisation's rules are a ceiling: they may name credentials that only some people have.
  const below = fragments.filter((fragment) => fragment.layer !== 'organisation');
  const known = new Map(
    [...below, ...fragments.filter((fragment) => fragment.layer === 'organisation')]
      .flatMap((fragment) => fragment.credentials ?? [])
      .map((entry) => [entry.name, entry]),
  );
  const rules = below.flatMap((fragment) => fragment.allow ?? []);
  for (const rule of rules) yield* ruleProblems(rule, known);
  yield* proxyProblems(below, known);
  yield* homeless(fragments, rules);
  yield* variableProblems(fragments, [...known.values()]);
}

function* ruleProblems(
  rule: NetworkRule,
  known: ReadonlyMap<string, CredentialPolicy>,
): Generator<PolicyProblem> {
  for (const name of rule.requests?.credentials ?? []) {
    const credential = known.get(name);
    const key = `${rule.id}: credential`;
    if (credential === undefined) yield unknownCredential(key, name, { origin: rule.origin, known });
    else if (credential.hosts.length > 0) yield* hostProblems(rule, credential, key);
    if (credential !== undefined && rule.requests?.pin?.credential === name)
      yield* placeProblems(rule, credential, key);
  }
}

function unknownCredential(
  key: string,
  name: string,
  facts: { readonly origin: Origin; readonly known: ReadonlyMap<string, CredentialPolicy> },
): PolicyProblem {
  const names = [...facts.known.keys()];
  return {
    ...placeOf(facts.origin),
    key,
    found: quoteValue(name),
    expected: 'a name from `credentials`',
    why: names.length === 0 ? 'none is defined' : `defined: ${names.join(', ')}`,
  };
}

function* hostProblems(
  rule: NetworkRule,
  credential: CredentialPolicy,
  key: string,
): Generator<PolicyProblem> {
  const port = rule.ports.find(
    (one) => !credential.hosts.some((host) => host.host === rule.host && host.port === one),
  );
  if (port === undefined) return;
  yield {
    ...placeOf(rule.origin),
    key,
    found: quoteValue(credential.name),
    expected: `a credential for ${rule.host}:${port}`,
    why: `it is for ${credential.hosts.map((host) => `${host.host}:${host.port}`).join(', ')} only`,
  };
}

/** A signature is not a value that could be put in another place, and a value signs nothing. */
function* placeProblems(
  rule: NetworkRule,
  credential: CredentialPolicy,
  key: string,
): Generator<PolicyProblem> {
  const signs = credential.places.some((place) => place.kind === 'sigv4');
  const wrong = rule.requests?.pin?.places?.find((place) => (place.kind === 'sigv4') !== signs);
  if (wrong === undefined) return;
  yield {
    ...placeOf(rule.origin),
    key,
    found: quoteValue(wrong.kind),
    expected: signs ? 'sigv4' : 'another place than sigv4',
    why: `credential ${credential.name} ${signs ? 'signs' : 'does not sign'}`,
  };
}

function* proxyProblems(
  below: readonly Fragment[],
  known: ReadonlyMap<string, CredentialPolicy>,
): Generator<PolicyProblem> {
  for (const { parentProxy } of below) {
    const name = parentProxy?.value.credential;
    if (parentProxy === undefined || name === undefined || known.has(name)) continue;
    yield unknownCredential('network.parentProxy.credential', name, { origin: parentProxy.origin, known });
  }
}

/** A credential without a host is used nowhere, so a host was forgotten. The organisation's wait for rules of others. */
function* homeless(fragments: readonly Fragment[], rules: readonly NetworkRule[]): Generator<PolicyProblem> {
  const used = new Set([
    ...rules.flatMap((rule) => rule.requests?.credentials ?? []),
    ...fragments.map((fragment) => fragment.parentProxy?.value.credential),
  ]);
  for (const fragment of fragments.filter((one) => one.layer !== 'organisation')) {
    for (const credential of fragment.credentials ?? []) {
      if (credential.hosts.length > 0 || used.has(credential.name)) continue;
      yield {
        ...placeOf(credential.origin),
        key: `credentials.${credential.name}`,
        expected: 'hosts, or a rule of network.allow that names it',
        why: 'it would be used nowhere',
      };
    }
  }
}

function* variableProblems(
  fragments: readonly Fragment[],
  credentials: readonly CredentialPolicy[],
): Generator<PolicyProblem> {
  const exposed = new Map<string, CredentialPolicy>();
  const secret = new Map<string, CredentialPolicy>();
  for (const credential of credentials) {
    for (const name of Object.keys(credential.expose.env)) {
      const other = exposed.get(name);
      if (other === undefined) exposed.set(name, credential);
      else yield sharedVariable(name, credential, other);
    }
    for (const source of Object.values(credential.sources))
      if (source.kind === 'env') secret.set(source.name, credential);
  }
  const passing = fragments.filter((one) => one.layer !== 'organisation').flatMap((one) => one.env ?? []);
  for (const { name, value, origin } of passing) {
    const holder = exposed.get(name) ?? (value === undefined ? secret.get(name) : undefined);
    if (holder === undefined) continue;
    yield {
      ...placeOf(origin),
      key: 'process.env',
      found: quoteValue(name),
      expected: 'it only in the credential',
      why:
        secret.has(name) && value === undefined
          ? `the secret of credential ${holder.name} would enter the sandbox`
          : `credential ${holder.name} fills it with its placeholder`,
    };
  }
}

function sharedVariable(name: string, credential: CredentialPolicy, other: CredentialPolicy): PolicyProblem {
  return {
    ...placeOf(credential.origin),
    key: `credentials.${credential.name}`,
    found: quoteValue(name),
    expected: 'a variable of its own in expose',
    why: `credential ${other.name} is known inside under it`,
  };
}

function placeOf(origin: Origin): Pick<PolicyProblem, 'position'> {
  return origin.position === undefined ? {} : { position: origin.position };
}
