import { Judge } from '../../../src/gateway/decide.ts';
import type { RequestRecord } from '../../../src/gateway/contract.ts';
import { createScanner } from '../../../src/content/dlp/scanner.ts';
import { createBroker } from '../../../src/secrets/broker.ts';
import type { Broker } from '../../../src/secrets/contract.ts';
import type { CredentialPolicy, NetworkPolicy, NetworkRule } from '../../../src/policy/contract.ts';
import { askDns, dnsQuery } from '../dns-client.ts';
import { startBench } from '../kit.ts';
import type { Bench, BenchOptions } from '../kit.ts';
import type { Strings } from './expand.ts';
import type { Case, CaseFile } from './load.ts';
import { CaseOrigin } from './origin.ts';
import type { CasePolicies } from './policies.ts';
import { benchStrings, fixtureStrings, secretFor } from './values.ts';
import type { World } from './world.ts';

/** What all rows of a run share. */
export interface Suite {
  readonly file: CaseFile;
  readonly policies: CasePolicies;
  readonly world: World;
  readonly strings: Strings;
}

/** A sandbox's gateway with everything around it, for one row. */
export interface Stage {
  readonly suite: Suite;
  readonly row: Case;
  readonly bench: Bench;
  readonly origin: CaseOrigin;
  readonly broker: Broker;
  readonly network: NetworkPolicy;
  readonly requests: RequestRecord[];
  /** Values of the placeholders of rows, by name. */
  readonly strings: Record<string, string>;
  /** Host variables that secrets come from. */
  readonly hostEnv: Record<string, string>;
  close(): Promise<void>;
}

export interface StageOptions extends Partial<Omit<BenchOptions, 'policy' | 'origin'>> {
  readonly http2?: boolean;
  readonly network?: NetworkPolicy;
}

export function commonStrings(): Strings {
  return { ...fixtureStrings(), ...benchStrings() };
}

/** Short enough that rows which wait for an end do not hold the run up; each is far above what an answer takes. */
const LIMITS = {
  handshakeMs: 1_200,
  headMs: 1_200,
  idleMs: 1_200,
  stallMs: 1_200,
  upstreamIdleMs: 3_000,
  resolveMs: 500,
  dialMs: 2_000,
  lingerMs: 200,
  connections: 256,
} as const;

export async function stageFor(suite: Suite, row: Case, options: StageOptions = {}): Promise<Stage> {
  const { http2, network: given, ...more } = options;
  const policy = suite.policies.named(
    suite.policies.has(row.policy) && row.policy !== '(config)' ? row.policy : 'P-base',
  );
  const strings: Record<string, string> = { ...suite.strings };
  const network = withStrings(given ?? policy.network, strings);
  const hostEnv: Record<string, string> = {};
  const broker = await brokerFor(suite, row, policy.credentials, { hostEnv, strings });
  const { input } = row;
  const origin = new CaseOrigin(suite.world, {
    ...(input.upstreamCert === undefined ? {} : { certificate: input.upstreamCert }),
    ...(http2 === undefined ? {} : { http2 }),
  });
  const port = await origin.listen();
  const requests: RequestRecord[] = [];
  const names = suite.file.fixtures.names;
  const { dlp } = network;
  const scanner =
    dlp === undefined
      ? undefined
      : createScanner({
          policy: dlp,
          secrets: () => broker.knownSecrets(),
          placeholders: () => broker.placeholders(),
        });
  const bench = await startBench({
    policy: network,
    origin: port,
    answers: Object.fromEntries(Object.entries(names).map(([name, entry]) => [name, entry.A])),
    authority: suite.world.sandbox,
    roots: suite.world.roots,
    broker,
    ...(scanner === undefined ? {} : { scanner }),
    onRequest: (record) => requests.push(record),
    ...more,
    limits: { ...LIMITS, ...more.limits },
  });
  const close = async (): Promise<void> => {
    await bench.gateway.close();
    await origin.close();
    broker.dispose();
  };
  const stage = { suite, row, bench, origin, broker, network, requests, strings, hostEnv, close };
  await addSynthetic(stage);
  return stage;
}

/** The rule that a destination falls under, so that a client can behave as that rule expects. */
export function ruleOf(stage: Stage, host: string, port: number): NetworkRule | undefined {
  const decision = new Judge(stage.network).decide(host, port);
  return decision.action === 'allow' ? decision.rule : undefined;
}

/** Canaries and patterns of a policy name strings too. */
function withStrings(network: NetworkPolicy, strings: Strings): NetworkPolicy {
  const fill = (text: string): string =>
    text.replace(/\$\{(\w+)\}/g, (all, name: string) => strings[name] ?? all);
  const { dlp } = network;
  return dlp === undefined ? network : { ...network, dlp: { ...dlp, canaries: dlp.canaries.map(fill) } };
}

interface BrokerParts {
  readonly hostEnv: Record<string, string>;
  readonly strings: Record<string, string>;
}

/** The broker of the row: the credentials of its policy, and those whose placeholders it names. */
async function brokerFor(
  suite: Suite,
  row: Case,
  own: readonly CredentialPolicy[],
  { hostEnv, strings }: BrokerParts,
): Promise<Broker> {
  const text = JSON.stringify(row.input);
  const named = [...text.matchAll(/([A-Z][A-Z0-9]*)_(?:PH|REAL|REVOKED)\b/g)].map((match) => match[1] ?? '');
  if (text.includes('OTHER_SANDBOX_PH')) named.push('LLM');
  const more = [...new Set(named)].flatMap((name) => {
    if (own.some((credential) => credential.name === name)) return [];
    const found = suite.policies.credential(name);
    return found === undefined ? [] : [found];
  });
  const credentials = [...own, ...more];
  for (const { name } of credentials) {
    hostEnv[name] = secretFor(name);
    hostEnv[`${name}_ID`] = `AKIA${secretFor(name).slice(0, 16).toUpperCase()}`;
    hostEnv[`${name}_SECRET`] = secretFor(name);
  }
  const make = (sandbox: string): Promise<Broker> =>
    createBroker({ sandbox, credentials, hostEnv, configDir: '/nonexistent/c', stateDir: '/nonexistent/s' });
  const broker = await make(row.id);
  for (const { name } of credentials) {
    if (text.includes(`OLD_${name}_PH`)) {
      strings[`OLD_${name}_PH`] = placeholderOf(broker, name);
      broker.renew(name);
    }
    if (text.includes(`${name}_REVOKED`)) {
      strings[`${name}_REVOKED`] = hostEnv[name] ?? '';
      hostEnv[name] = secretFor(name);
      await broker.refresh(name);
    }
    strings[`${name}_REAL`] = hostEnv[name] ?? '';
    strings[`${name}_PH`] = placeholderOf(broker, name);
  }
  if (text.includes('OTHER_SANDBOX_PH')) {
    const other = await make('other');
    strings['OTHER_SANDBOX_PH'] = placeholderOf(other, 'LLM');
    other.dispose();
  }
  return broker;
}

function placeholderOf(broker: Broker, name: string): string {
  for (const entry of broker.placeholders()) if (entry.name === name) return entry.text;
  return '';
}

/** `SYN:name`: what the gateway's own name server answers. */
async function addSynthetic(stage: Stage): Promise<void> {
  for (const [, name = ''] of JSON.stringify(stage.row.input).matchAll(/\$\{SYN:([^}]+)\}/g)) {
    const reply = await askDns(stage.bench.dnsUdp, dnsQuery(name.split('.')));
    stage.strings[`SYN:${name}`] = reply?.addresses[0] ?? '198.18.99.99';
  }
}
