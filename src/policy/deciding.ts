import { canonicalJson } from '../base/canonical-json.ts';
import type { NetworkRule } from './contract.ts';

/**
 * One rule decides for a host and a port. Of several layers the later one's does, so that a pin or a narrower path that somebody adds
 * holds whatever a profile opened. A rule that names host and port and nothing else takes no other's place and gives way to any:
 * `--allow HOST` lifts nothing. Within a layer the first decides.
 *
 * @param layers rules by layer, in order of growing weight
 */
export function decidingRules(layers: readonly (readonly NetworkRule[])[]): readonly NetworkRule[] {
  const deciding = new Map<string, NetworkRule>();
  for (const rules of layers) {
    const earlier = new Map(deciding);
    for (const rule of rules) for (const port of rule.ports) decide(deciding, earlier, { rule, port });
  }
  return layers.flat().flatMap((rule) => {
    const ports = rule.ports.filter((port) => deciding.get(placeOf(rule, port)) === rule);
    if (ports.length === 0) return [];
    return [ports.length === rule.ports.length ? rule : { ...rule, ports }];
  });
}

function decide(
  deciding: Map<string, NetworkRule>,
  earlier: ReadonlyMap<string, NetworkRule>,
  { rule, port }: { readonly rule: NetworkRule; readonly port: number },
): void {
  const place = placeOf(rule, port);
  const now = deciding.get(place);
  if (now === undefined) deciding.set(place, rule);
  else if (!isPlain(rule) && (now === earlier.get(place) || isPlain(now)) && !means(now, rule))
    deciding.set(place, rule);
}

const placeOf = (rule: NetworkRule, port: number): string => `${rule.host} ${port}`;

/** Says that a host may be reached, and nothing about how. */
function isPlain(rule: NetworkRule): boolean {
  const { requests, ssh, budget, allowNoSni } = rule;
  return requests === undefined && ssh === undefined && budget === undefined && !rule.private && !allowNoSni;
}

/** The same but for where it stands: the first to say it keeps it. */
function means(a: NetworkRule, b: NetworkRule): boolean {
  const text = ({ id: _id, origin: _origin, ports: _ports, ...meaning }: NetworkRule): string =>
    canonicalJson(meaning);
  return text(a) === text(b);
}
