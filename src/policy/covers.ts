import { isWithin } from '../base/path-bytes.ts';
import type { NetworkBudget, NetworkRule, PathRule, SshPolicy } from './contract.ts';
import { hostBreadth, hostCovers, isPrivateLiteral, rangesCover } from './host-entry.ts';
import type { BudgetKey } from './layer-types.ts';
import { budgetMember } from './network-rules.ts';
import { requestGap } from './request-cover.ts';
import { BUDGET_KEYS } from './scalars.ts';

/** Why a grant is not inside another, for the closest one; undefined when one of them covers it. */
export interface CoverGap {
  /** The grant that comes closest, when one is for the same host. */
  readonly closest?: NetworkRule;
  readonly why: string;
}

/** Whether using a secret is more than reaching its host: for a project it is, for a ceiling over hosts it is not. */
export type SecretUse = 'counts' | 'free';

/**
 * Looks for one grant that allows everything that `narrow` allows. For each port only the rules with the most exact host count: those
 * decide there, whatever a broader one would let pass.
 */
export function coverGap(
  wide: readonly NetworkRule[],
  narrow: NetworkRule,
  secrets: SecretUse = 'counts',
): CoverGap | undefined {
  const sameHost = wide.filter((rule) => hostCovers(rule.host, narrow.host));
  if (sameHost.length === 0) return { why: `no rule there covers ${narrow.host}` };
  for (const port of narrow.ports) {
    const samePort = mostExact(sameHost.filter((rule) => rule.ports.includes(port)));
    const closest = samePort[0] ?? sameHost[0];
    if (samePort.length === 0)
      return {
        why: `${narrow.host} is there for port ${sameHost.flatMap((rule) => rule.ports).join(', ')} only`,
        ...(closest === undefined ? {} : { closest }),
      };
    const gaps = samePort.map((rule) => ruleGap(rule, narrow, secrets));
    const gap = gaps.every((why) => why !== undefined) ? gaps[0] : undefined;
    if (gap !== undefined) return { why: gap, ...(closest === undefined ? {} : { closest }) };
  }
  return undefined;
}

/** The rules that decide: those with the most exact host. */
export function mostExact(rules: readonly NetworkRule[]): readonly NetworkRule[] {
  const least = Math.min(...rules.map((rule) => hostBreadth(rule.host)));
  return rules.filter((rule) => hostBreadth(rule.host) === least);
}

function ruleGap(wide: NetworkRule, narrow: NetworkRule, secrets: SecretUse): string | undefined {
  if (wide.protocol !== narrow.protocol && wide.protocol !== 'tcp')
    return `it is there for ${wide.protocol} only`;
  const open = privateGap(wide, narrow);
  if (open !== undefined) return open;
  if (narrow.allowNoSni && !wide.allowNoSni && wide.protocol !== 'tcp')
    return 'TLS without a name is not allowed there';
  return (
    requestGap(wide.requests, narrow.requests) ??
    sshGap(wide.ssh, narrow.ssh) ??
    (secrets === 'free' ? undefined : secretGap(wide, narrow)) ??
    budgetGap(wide.budget, narrow.budget)
  );
}

function privateGap(wide: NetworkRule, narrow: NetworkRule): string | undefined {
  if (!narrow.private) return undefined;
  if (!wide.private) return 'private addresses are not allowed there';
  const held = wide.privateRanges;
  if (held === undefined) return undefined;
  const own = narrow.privateRanges ?? (isPrivateLiteral(narrow.host) ? [narrow.host] : undefined);
  const beyond = own?.find((range) => !rangesCover(held, range));
  if (own !== undefined && beyond === undefined) return undefined;
  return `private addresses are allowed there in ${held.join(' ')} only`;
}

function sshGap(wide: SshPolicy | undefined, narrow: SshPolicy | undefined): string | undefined {
  const known = wide?.hostKeys;
  const foreign = known === undefined ? undefined : narrow?.hostKeys.find((key) => !known.includes(key));
  return foreign === undefined ? undefined : `the host key ${foreign} is not known there`;
}

/** A credential or key that the wide rule does not use itself. */
function secretGap(wide: NetworkRule, narrow: NetworkRule): string | undefined {
  const credential = narrow.requests?.credentials.find(
    (name) => wide.requests?.credentials.includes(name) !== true,
  );
  if (credential !== undefined) return `credential ${credential} is not used there`;
  const key = narrow.ssh?.keys?.find((one) => wide.ssh?.keys?.includes(one) !== true);
  return key === undefined ? undefined : `the key ${key} does not sign there`;
}

/** Where the contract has another name. */
const BUDGET_NAMES: Readonly<Partial<Record<BudgetKey, string>>> = {
  upload: 'uploadBytes',
  download: 'downloadBytes',
};

function budgetGap(wide: NetworkBudget | undefined, narrow: NetworkBudget | undefined): string | undefined {
  const over = BUDGET_KEYS.find(
    (key) => (budgetMember(wide, key) ?? Infinity) < (budgetMember(narrow, key) ?? Infinity),
  );
  return over === undefined
    ? undefined
    : `its budget for ${BUDGET_NAMES[over] ?? over} there is ${budgetMember(wide, over)}`;
}

/** True when a path lies in one of the trees. */
export function inTrees(path: string, trees: readonly Pick<PathRule, 'path'>[]): boolean {
  return trees.some((tree) => isWithin(path, tree.path));
}
