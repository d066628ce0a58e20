import type { Policy } from '../policy/contract.ts';
import { syntheticEtc } from './base-system.ts';
import type { Mount, Plan } from './contract.ts';
import { planEnvironment } from './environment.ts';
import { madeMounts, RELAY_PATH } from './inspection.ts';
import { planListeners } from './listeners.ts';
import { planMasks } from './masks.ts';
import type { Guard } from './survey.ts';
import { DEBIAN_BUNDLE, type ImageFacts, type SystemFact, type ViewFacts } from './view.ts';

/** What a plan is made from besides the policy: facts of this machine, collected beforehand. */
export interface PlanFacts {
  readonly tier: Plan['tier'];
  readonly driver: Plan['driver'];
  readonly view: ViewFacts;
  readonly guards: readonly Guard[];
  readonly hostEnv: NodeJS.ProcessEnv;
  readonly home: string;
  readonly cwd: string;
  /** The workspace is a copy that is made when the sandbox starts. */
  readonly review?: boolean;
}

/** Ids inside the sandbox: an ordinary user, whoever the caller is. */
const SANDBOX_ID = 1000;
const HOSTNAME = 'glovebox';

/** Compiles a policy and machine facts into the plan: a pure function, the same input gives the same plan. */
export function compilePlan(policy: Policy, facts: PlanFacts): Plan {
  const listeners = planListeners(policy.network);
  const identity = {
    user: policy.process.user,
    uid: SANDBOX_ID,
    gid: SANDBOX_ID,
    home: facts.home,
    hostname: HOSTNAME,
  };
  const view = planView(policy, facts, identity);
  return Object.freeze({
    version: 1,
    tier: facts.tier,
    driver: facts.driver,
    workspace: policy.filesystem.workspace,
    cwd: facts.cwd,
    view,
    masks: planMasks(facts.guards),
    env: planEnvironment({
      policy,
      host: facts.hostEnv,
      home: facts.home,
      listeners,
      visible: [
        ...(facts.view.image === undefined ? ['/usr', '/bin', '/sbin'] : []),
        ...facts.view.trees.map((tree) => tree.target),
      ],
      ...(facts.view.image === undefined ? {} : { image: facts.view.image }),
    }),
    limits: policy.limits,
    syscalls: { profile: policy.process.seccomp, nesting: policy.process.nesting },
    network: { listeners, policy: policy.network },
    identity,
    writable: [
      ...facts.view.trees.filter((tree) => tree.writable).map((tree) => tree.target),
      facts.home,
      '/tmp',
      '/var/tmp',
      '/dev',
    ],
  });
}

function planView(policy: Policy, facts: PlanFacts, identity: Plan['identity']): readonly Mount[] {
  const { tmpBytes } = policy.filesystem;
  const { image } = facts.view;
  const etc = syntheticEtc({ ...identity, shell: image?.shell ?? '/bin/bash' }, image);
  const mounts: Mount[] = [
    ...etcDirectories(image !== undefined),
    // An image's view says `dir /etc` once, and bubblewrap makes it once.
    ...facts.view.system.filter((fact) => fact.path !== '/etc').map(systemMount),
    ...etc.map((file): Mount => ({ kind: 'file', target: file.path, content: file.content, why: file.why })),
    { kind: 'proc', target: '/proc', why: "a fresh one, of the sandbox's own processes" },
    ...facts.view.hidden.map(({ path, type, why }): Mount => ({ kind: 'hidden', target: path, type, why })),
    { kind: 'dev', target: '/dev', why: 'null, zero, full, random, urandom, tty, its own pts' },
    { kind: 'tmpfs', target: '/tmp', bytes: tmpBytes, mode: 0o1777, why: 'private scratch space' },
    {
      kind: 'tmpfs',
      target: '/dev/shm',
      bytes: tmpBytes,
      mode: 0o1777,
      why: 'POSIX shared memory, private and sized',
    },
    ...(image === undefined
      ? [{ kind: 'dir', target: '/var', mode: 0o755, why: 'parent of /var/tmp' } as const]
      : []),
    {
      kind: 'tmpfs',
      target: '/var/tmp',
      bytes: tmpBytes,
      mode: 0o1777,
      why: 'private scratch space at its second name',
    },
  ];
  const made = [...bundleMount(image), ...madeMounts(policy, facts.view.trust), ...relayMounts(facts.tier)];
  return [...mounts, ...treeMounts(facts, tmpBytes), ...made];
}

/** A guest kernel's sockets never meet the airlock's listeners. */
function relayMounts(tier: Plan['tier']): readonly Mount[] {
  if (tier !== 'container' && tier !== 'vm+gvisor') return [];
  const why = "carries the guest's connections to the gateway, which judges each as elsewhere";
  return [{ kind: 'made', target: RELAY_PATH, what: 'relay', why }];
}

function etcDirectories(fromImage: boolean): readonly Mount[] {
  const etc: Mount = { kind: 'dir', target: '/etc', mode: 0o755, why: 'only the files below' };
  const ssl: Mount = { kind: 'dir', target: '/etc/ssl', mode: 0o755, why: 'without its private keys' };
  return fromImage ? [etc] : [etc, ssl];
}

/** Minimal images have no certificates, and those of others may be old. */
function bundleMount(image: ImageFacts | undefined): readonly Mount[] {
  if (image?.bundle === undefined) return [];
  const why = "the host's certificate authorities";
  return [{ kind: 'bind', source: image.bundle, target: DEBIAN_BUNDLE, writable: false, why }];
}

function systemMount(fact: SystemFact): Mount {
  if (fact.dir === true) return { kind: 'dir', target: fact.path, mode: 0o755, why: fact.why };
  if (fact.link !== undefined) return { kind: 'symlink', target: fact.path, to: fact.link, why: fact.why };
  return { kind: 'bind', source: fact.source, target: fact.path, writable: false, why: fact.why };
}

/** The home directory and the policy's trees, outer ones first so that an inner one covers its part. */
function treeMounts(facts: PlanFacts, tmpBytes: number): readonly Mount[] {
  const home: Mount = {
    kind: 'tmpfs',
    target: facts.home,
    bytes: tmpBytes,
    mode: 0o700,
    why: 'an empty home: the real one is not there',
  };
  const trees = facts.view.trees.map((tree): Mount => {
    const { source, target, writable, rule: why } = tree;
    if (facts.review === true && why === 'filesystem.workspace')
      return { kind: 'made', target, what: 'review-copy', why: `${why}, a copy: changes wait for a person` };
    return { kind: 'bind', source, target, writable, why };
  });
  return [home, ...trees].sort((a, b) => depth(a.target) - depth(b.target));
}

const depth = (target: string): number => target.split('/').filter((part) => part !== '').length;
