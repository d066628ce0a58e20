import { parseHostPattern } from '../../../src/net/host-pattern.ts';
import { parseIp } from '../../../src/net/ip.ts';
import type { NetworkPolicy } from '../../../src/policy/contract.ts';
import { denyRule, policy, rule } from '../kit.ts';
import type { Case } from './load.ts';

const DENIED = [denyRule('bad.wild.test'), denyRule('*.bad.wild.test')];

/**
 * The case file's policies in our language. Rules that terminate TLS have no equal in this half; their rows run over plain HTTP,
 * where the same request checks stand, with the host allowed on port 80 by an `http` rule.
 */
export function translate(row: Case): NetworkPolicy {
  switch (row.policy) {
    case 'P-base':
    case 'P-dns':
    case 'P-auth':
    case 'P-audit':
      return policy(
        [rule('api.allowed.test', 443), rule('*.wild.test', 443), rule('plain.allowed.test', 80)],
        DENIED,
      );
    case 'P-open':
      return openPolicy(row);
    case 'P-tcp':
      return policy([rule('db.allowed.test', 5432)]);
    case 'P-private':
      // A range is not a host of our language: the one address inside it that a row uses stands for it.
      return policy([
        rule('10.1.2.3', 8080, { private: true }),
        rule('intranet.allowed.test', 8080, { private: true }),
      ]);
    case 'P-budget':
      return policy([rule('api.allowed.test', 80), rule('*.wild.test', 443)], [], {
        uploadBytes: 1_048_576,
        downloadBytes: 52_428_800,
        requests: 60,
      });
    default:
      return policy([rule('api.allowed.test', 80), rule('*.wild.test', 80), rule('git.allowed.test', 80)]);
  }
}

/**
 * "Allow all" cannot be said in our language, so the row's own host is allowed by name, which is the stronger test: not even a rule
 * that says exactly this opens a structural denial. A single label is covered by no rule, as "allow all" would not mean it.
 */
function openPolicy(row: Case): NetworkPolicy {
  const hosts = [row.input.host ?? '', 'plain.allowed.test'];
  const special = new Set(['localhost', 'metadata']);
  const allow = hosts.flatMap((host) => {
    const text = host.replace('${HOST_IFACE_IP}', '203.0.114.5').replace('${GATEWAY_IP}', '127.0.0.1');
    const parsed = parseHostPattern(text);
    if (!parsed.ok) return [];
    const named = text.includes('.') || parseIp(text) !== undefined || special.has(parsed.pattern.host);
    return named ? [rule(parsed.pattern.host, row.input.port ?? 80, { protocol: 'tcp' })] : [];
  });
  return policy(allow, [denyRule('evil.test'), denyRule('bad.wild.test')]);
}
