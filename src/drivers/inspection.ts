import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import type { CredentialPolicy, NetworkPolicy, Policy } from '../policy/contract.ts';
import type { MadeContent, Mount, Plan } from './contract.ts';
import { DEBIAN_BUNDLE, JAVA_STORE, originText } from './view.ts';
import type { TrustFacts } from './view.ts';

/** Where what is made for one sandbox stands inside; beside the agent, on no path that a program or a policy uses. */
export const CA_PATH = '/.glovebox/ca.pem';
export const SSH_AGENT_PATH = '/.glovebox/ssh-agent.sock';
/** The way out of a guest kernel with a network stack of its own. */
export const RELAY_PATH = '/.glovebox/gateway.sock';
const OWN_BUNDLE_PATH = '/.glovebox/ca-bundle.pem';

/** True when some rule ends the sandbox's TLS, so that its programs must trust the sandbox's own CA. */
export function terminatesTls(network: NetworkPolicy): boolean {
  return network.allow.some((rule) => rule.protocol === 'https' && rule.requests !== undefined);
}

/** True when some rule lends the user's ssh keys. */
export function lendsKeys(network: NetworkPolicy): boolean {
  return network.allow.some((rule) => (rule.ssh?.keys ?? []).length > 0);
}

/** Where the merged bundle of certificates stands inside. */
export function bundlePath(facts: TrustFacts): string {
  return facts.bundle ? DEBIAN_BUNDLE : OWN_BUNDLE_PATH;
}

/** The mounts that inspection, masked files and lent keys need; nothing for a policy without them. */
export function madeMounts(policy: Policy, facts: TrustFacts): readonly Mount[] {
  const made = (target: string, what: Extract<Mount, { kind: 'made' }>['what'], why: string): Mount => ({
    kind: 'made',
    target,
    what,
    why,
  });
  const trust = [
    made(
      CA_PATH,
      'ca',
      "the sandbox's own certificate authority: rules that look inside TLS end it with this",
    ),
    made(bundlePath(facts), 'ca-bundle', "the host's certificate authorities and the sandbox's own"),
    ...(facts.java ? [made(JAVA_STORE, 'java-trust', 'the same for Java')] : []),
  ];
  return [
    ...(terminatesTls(policy.network) ? trust : []),
    ...(lendsKeys(policy.network)
      ? [made(SSH_AGENT_PATH, 'ssh-agent', 'signs logins at the hosts that rules name; keys stay outside')]
      : []),
    ...policy.credentials.flatMap((credential) =>
      credential.expose.files.map((file) =>
        made(file, 'masked-file', `a copy with placeholders for ${credential.name}`),
      ),
    ),
  ].filter((mount, index, all) => all.findIndex((other) => other.target === mount.target) === index);
}

/** Variables of the host that would carry a real secret of the policy inside, or that a placeholder takes the place of. */
export function secretVariables(credentials: readonly CredentialPolicy[]): ReadonlySet<string> {
  return new Set(
    credentials.flatMap((credential) => [
      ...Object.keys(credential.expose.env),
      ...Object.values(credential.sources).flatMap((source) => (source.kind === 'env' ? [source.name] : [])),
    ]),
  );
}

/**
 * A mount over a file of a tree that the sandbox may write would follow what an earlier run left there, and the file itself would
 * be one rename away.
 *
 * @throws E_UNSUPPORTED
 */
export function refuseMasksInTrees(policy: Policy, trees: readonly { readonly target: string }[]): void {
  for (const credential of policy.credentials) {
    const file = credential.expose.files.find((path) => trees.some((tree) => isWithin(path, tree.target)));
    if (file === undefined) continue;
    throw new GloveboxError('E_UNSUPPORTED', {
      what: `${originText(credential.origin)}credentials.${credential.name} masks ${printablePath(file)}, which lies in a visible tree`,
      why: 'the real file would stand beside its masked copy',
      next: 'Add the file to `filesystem.deny`, and expose the credential by a variable instead.',
    });
  }
}

/** The plan with every made mount replaced by what it turned out to be. One that was not made is left out. */
export function fillMade(plan: Plan, made: ReadonlyMap<string, MadeContent>): Plan {
  if (!plan.view.some((mount) => mount.kind === 'made')) return plan;
  return {
    ...plan,
    view: plan.view.flatMap((mount) => (mount.kind === 'made' ? filled(mount, made) : [mount])),
  };
}

function filled(
  mount: Extract<Mount, { kind: 'made' }>,
  made: ReadonlyMap<string, MadeContent>,
): readonly Mount[] {
  const { target, what, why } = mount;
  const found = made.get(target);
  if (found === undefined) return [];
  const writable = what === 'review-copy';
  if ('source' in found) return [{ kind: 'bind', source: found.source, target, writable, why }];
  return [{ kind: 'file', target, content: found.content, why }];
}
