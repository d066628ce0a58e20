import { canonicalJson } from '../base/canonical-json.ts';
import { isWithin } from '../base/path-bytes.ts';
import type { NetworkBudget, NetworkRule, PathRule } from './contract.ts';
import { hostCovers } from './host-entry.ts';

/** Why a grant is not inside another, for the closest one; undefined when one of them covers it. */
export interface CoverGap {
  /** The grant that comes closest, when one is for the same host. */
  readonly closest?: NetworkRule;
  readonly why: string;
}

/** Looks for one grant that allows everything that `narrow` allows. */
export function coverGap(wide: readonly NetworkRule[], narrow: NetworkRule): CoverGap | undefined {
  const sameHost = wide.filter((rule) => hostCovers(rule.host, narrow.host));
  if (sameHost.length === 0) return { why: `no rule there covers ${narrow.host}` };
  // Several rules may share a host and split its ports, so each port looks for its own.
  for (const port of narrow.ports) {
    const samePort = sameHost.filter((rule) => rule.ports.includes(port));
    const closest = samePort[0] ?? sameHost[0];
    if (samePort.length === 0)
      return {
        why: `${narrow.host} is there for port ${sameHost.flatMap((rule) => rule.ports).join(', ')} only`,
        ...(closest === undefined ? {} : { closest }),
      };
    const gaps = samePort.map((rule) => ruleGap(rule, narrow));
    const gap = gaps.every((why) => why !== undefined) ? gaps[0] : undefined;
    if (gap !== undefined) return { why: gap, ...(closest === undefined ? {} : { closest }) };
  }
  return undefined;
}

function ruleGap(wide: NetworkRule, narrow: NetworkRule): string | undefined {
  if (wide.protocol !== narrow.protocol && wide.protocol !== 'tcp')
    return `it is there for ${wide.protocol} only`;
  if (narrow.private && !wide.private) return 'private addresses are not allowed there';
  if (narrow.allowNoSni && !wide.allowNoSni && wide.protocol !== 'tcp')
    return 'TLS without a name is not allowed there';
  if (wide.inspect !== undefined && canonicalJson(wide.inspect) !== canonicalJson(narrow.inspect ?? {})) {
    return 'it is there with other tls, methods, paths or credential';
  }
  return budgetGap(wide.budget, narrow.budget);
}

const BUDGETS = ['requests', 'uploadBytes', 'downloadBytes', 'connections', 'names'] as const;

function budgetGap(wide: NetworkBudget | undefined, narrow: NetworkBudget | undefined): string | undefined {
  const over = BUDGETS.find((key) => (wide?.[key] ?? Infinity) < (narrow?.[key] ?? Infinity));
  return over === undefined ? undefined : `its budget for ${over} there is ${wide?.[over]}`;
}

/** True when a path lies in one of the trees. */
export function inTrees(path: string, trees: readonly Pick<PathRule, 'path'>[]): boolean {
  return trees.some((tree) => isWithin(path, tree.path));
}
