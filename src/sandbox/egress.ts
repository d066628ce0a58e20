import type { AuditSink } from '../audit/contract.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import type { Teardown } from '../base/teardown.ts';
import type { MadeContent, Plan } from '../drivers/contract.ts';
import { CA_PATH, lendsKeys, SSH_AGENT_PATH, terminatesTls } from '../drivers/inspection.ts';
import type { ContentScanner, GatewayOptions } from '../gateway/contract.ts';
import type { CredentialPolicy, DlpPolicy, NetworkPolicy } from '../policy/contract.ts';
import type { Broker, SecretNotice } from '../secrets/contract.ts';
import type { ScannerOptions } from '../content/dlp/scanner.ts';
import type { ScanThread } from '../content/dlp/thread.ts';
import type { RootStores } from './root-stores.ts';
import type { LentAgent } from './ssh-agent.ts';

/** The gateway's collaborators, and what the sandbox gets to see of them. */
export interface Egress {
  readonly gateway: Pick<GatewayOptions, 'authority' | 'roots' | 'broker' | 'scanner' | 'recordGuard'>;
  /** What the plan's made mounts hold. */
  readonly made: ReadonlyMap<string, MadeContent>;
  /** Placeholders by variable, as they are now; also where a variable that is passed inside holds a secret. */
  readonly env: Readonly<Record<string, string>>;
  readonly broker: Broker | undefined;
  /** Undefined when no key is lent. */
  readonly agent: LentAgent | undefined;
  /** Lines for stderr: a source that failed, a file that is not shown. */
  readonly notices: readonly string[];
  /** @throws E_IO, E_POLICY_INVALID when a file of the policy's `trust` cannot be used */
  checkTrust(policy: NetworkPolicy): Promise<void>;
  /** A scanner for other rules, over the same secrets. */
  scannerFor(policy: DlpPolicy | undefined): Promise<ContentScanner | undefined>;
}

export interface EgressInput {
  readonly id: string;
  readonly plan: Plan;
  readonly credentials: readonly CredentialPolicy[];
  readonly env: NodeJS.ProcessEnv;
  readonly roots: RootStores;
  readonly audit: AuditSink;
  readonly dirs: GloveboxDirs;
  readonly teardown: Teardown;
  /** The CA that programs inside trust already. Default: a new one. */
  readonly authority?: GatewayOptions['authority'];
}

/** They are for the start; a source that fails again and again for weeks is the record's. */
const NOTICES_MAX = 64;

/** A CA outlives its sandbox by a day, for clocks that differ; a sandbox without an end gets a year. */
const DAY_MS = 86_400_000;
const LONGEST_MS = 366 * DAY_MS;

/**
 * Makes what the gateway needs beyond names and ports: the sandbox's certificate authority, the broker, the scanner. A policy that
 * needs none of it loads none of it.
 *
 * @throws E_IO, E_POLICY_INVALID when the host's roots or a file of `network.trust` cannot be read
 */
export async function prepareEgress(input: EgressInput): Promise<Egress> {
  const notices: string[] = [];
  const broker = await makeBroker(input, notices);
  const trust = await makeTrust(input);
  const masking = await maskedFiles(broker?.instance, notices);
  const scannerFor = scannersOf(input.teardown, broker);
  const scanner = await scannerFor(input.plan.network.policy.dlp);
  const agent = lendsKeys(input.plan.network.policy) ? await lendAgent(input, notices) : undefined;
  return {
    gateway: {
      ...trust?.options,
      ...(broker === undefined ? {} : { broker: broker.instance }),
      ...(scanner === undefined ? {} : { scanner }),
      recordGuard: async () => {
        const { makeRecordGuard } = await import('./record-guard.ts');
        return makeRecordGuard(input.plan.network.policy.dlp, knownTo(broker));
      },
    },
    made: new Map<string, MadeContent>([
      ...(trust?.made ?? []),
      ...masking,
      ...(agent === undefined ? [] : [[SSH_AGENT_PATH, { source: agent.source }] as const]),
    ]),
    get env() {
      const lent = agent === undefined ? {} : { SSH_AUTH_SOCK: SSH_AGENT_PATH };
      const masked = broker?.instance.maskedVariables(input.plan.env);
      return { ...masked, ...broker?.instance.environment(), ...lent };
    },
    broker: broker?.instance,
    agent,
    notices,
    checkTrust: (policy) => checkTrust(input, policy),
    scannerFor,
  };
}

interface LiveBroker {
  readonly instance: Broker;
  /** Changes with every change of a secret. */
  readonly version: () => number;
}

async function makeBroker(input: EgressInput, notices: string[]): Promise<LiveBroker | undefined> {
  if (input.credentials.length === 0) return undefined;
  const { createBroker } = await import('../secrets/broker.ts');
  let version = 0;
  const instance = await createBroker({
    sandbox: input.id,
    credentials: input.credentials,
    hostEnv: input.env,
    untrusted: writableOnHost(input.plan),
    onNotice: (notice) => {
      version++;
      report(input, notice, notices);
    },
  });
  input.teardown.add('credential broker', () => instance.dispose());
  return { instance, version: () => version };
}

/** Trees of the host that the sandbox may write. `plan.writable` names those inside: its home and /tmp there are not the host's. */
function writableOnHost(plan: Plan): readonly string[] {
  return plan.view.flatMap((mount) =>
    mount.kind === 'bind' && mount.writable ? [mount.source, mount.target] : [],
  );
}

function report(input: EgressInput, notice: SecretNotice, notices: string[]): void {
  if (notices.length < NOTICES_MAX) notices.push(notice.message);
  if (notice.kind === 'warning') return;
  const state = notice.kind === 'revoked' ? 'revoked' : notice.kind.replace('source-', '');
  const data = { credential: notice.credential, state };
  input.audit.write({ kind: 'credential.source', sandbox: input.id, data }).catch(() => undefined);
}

/** All scanners of a sandbox share one thread, which is there once something is large. */
function scannersOf(teardown: Teardown, broker: LiveBroker | undefined): Egress['scannerFor'] {
  let thread: ScanThread | undefined;
  return async (policy) => {
    if (policy === undefined) return undefined;
    const { createThreadedScanner, ScanThread } = await import('../content/dlp/threaded.ts');
    if (thread === undefined) {
      const made = new ScanThread();
      thread = made;
      teardown.add('scanner', () => made.close());
    }
    return createThreadedScanner({ policy, ...knownTo(broker) }, thread);
  };
}

/** Secrets and placeholders as they are at each time, for what looks for them. */
function knownTo(
  broker: LiveBroker | undefined,
): Required<Pick<ScannerOptions, 'secrets' | 'placeholders' | 'secretsVersion'>> {
  return {
    secrets: () => broker?.instance.knownSecrets() ?? [],
    placeholders: () => broker?.instance.placeholders() ?? [],
    secretsVersion: () => broker?.version() ?? 0,
  };
}

interface Trust {
  readonly options: Pick<GatewayOptions, 'authority' | 'roots'>;
  readonly made: ReadonlyMap<string, MadeContent>;
}

async function makeTrust(input: EgressInput): Promise<Trust | undefined> {
  const { plan } = input;
  if (!terminatesTls(plan.network.policy)) return undefined;
  const [{ createAuthority }, { mergedBundle, javaTrustStore }, roots] = await Promise.all([
    import('../gateway/tls/authority.ts'),
    import('../gateway/tls/trust.ts'),
    input.roots.of(input.env),
  ]);
  await checkTrust(input, plan.network.policy);
  const ttl = plan.limits.ttlMs ?? plan.limits.timeoutMs;
  const lifetimeMs = ttl === undefined ? LONGEST_MS : Math.min(ttl + DAY_MS, LONGEST_MS);
  const authority = input.authority ?? createAuthority({ sandbox: input.id, lifetimeMs });
  const bundle = mergedBundle(await roots.hostBundle(), authority.pem);
  const made = new Map<string, MadeContent>([[CA_PATH, { content: Buffer.from(authority.pem) }]]);
  for (const mount of plan.view) {
    if (mount.kind !== 'made') continue;
    if (mount.what === 'ca-bundle') made.set(mount.target, { content: Buffer.from(bundle) });
    if (mount.what === 'java-trust') made.set(mount.target, { content: javaTrustStore([bundle]) });
  }
  return { options: { authority, roots }, made };
}

/** Rejects when a file of `network.trust` cannot be used: better now than with the first request. */
async function checkTrust({ env, roots }: EgressInput, { trust = [] }: NetworkPolicy): Promise<void> {
  if (trust.length > 0) await (await roots.of(env)).contextFor(trust);
}

async function maskedFiles(
  broker: Broker | undefined,
  notices: string[],
): Promise<readonly (readonly [string, MadeContent])[]> {
  const files = (await broker?.files()) ?? [];
  return files.flatMap((file) => {
    if (file.state === 'masked') return [[file.path, { content: file.content }] as const];
    // It stays away: the real file is not visible inside either.
    notices.push(`${file.path} is not shown: ${file.why}`);
    return [];
  });
}

async function lendAgent(input: EgressInput, notices: string[]): Promise<LentAgent | undefined> {
  const { lendSshAgent } = await import('./ssh-agent.ts');
  const lent = await lendSshAgent(input);
  if (typeof lent === 'object') return lent;
  notices.push(lent);
  return undefined;
}

/** Variables that make programs trust the sandbox's CA, for a plan that ends TLS. */
export async function trustEnvironment(plan: Plan): Promise<Readonly<Record<string, string>>> {
  if (!terminatesTls(plan.network.policy)) return {};
  const { trustVariables } = await import('../gateway/tls/trust.ts');
  const made = plan.view.find((mount) => mount.kind === 'made' && mount.what === 'ca-bundle');
  return made === undefined ? {} : trustVariables(made.target, CA_PATH);
}
