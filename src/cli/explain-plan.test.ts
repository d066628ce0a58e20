import { describe, expect, it } from 'vitest';
import type { Plan } from '../drivers/contract.ts';
import type { Policy } from '../policy/contract.ts';
import { PolicyFixture } from '../policy/fixture.ts';
import { resolvePolicy } from '../policy/resolve.ts';
import { explainPlan } from './explain-plan.ts';

/** A policy of the user's, as it is resolved. */
function policyOf(yaml: string): Policy {
  using fixture = new PolicyFixture();
  fixture.user(`version: 1\n${yaml}`);
  return resolvePolicy(fixture.context, {}).policy;
}

/** What `explain` says of a plan whose network, limits and credentials come from this policy. */
function explained(yaml: string): readonly string[] {
  const policy = policyOf(yaml);
  const plan: Plan = {
    version: 1,
    tier: 'process',
    driver: 'bubblewrap',
    workspace: '/work/a\u001b[31mb',
    cwd: '/work',
    view: [],
    masks: [],
    env: { PATH: '/usr/bin' },
    limits: policy.limits,
    syscalls: { profile: 'default', nesting: false },
    network: { listeners: [], policy: policy.network },
    identity: { user: 'user', uid: 1, gid: 1, home: '/home/user', hostname: 'glovebox' },
    writable: [],
  };
  const facts = { policyHash: 'p'.repeat(64), planHash: 'q'.repeat(64), credentials: policy.credentials };
  return explainPlan(plan, facts).split('\n');
}

/** The lines of one section, without their indent. */
function section(lines: readonly string[], title: string): readonly string[] {
  const from = lines.indexOf(title) + 1;
  return lines.slice(from, lines.indexOf('', from)).map((line) => line.slice(2));
}

describe('what a plan reaches', () => {
  it('nothing, in so many words', () => {
    expect(section(explained(''), 'reaches')).toEqual(['nothing']);
  });

  it('says of each rule whether requests are read, as whom, and whether it only observes', () => {
    const lines = explained(`
network:
  allow:
    - { id: plain, host: a.example.com }
    - { id: lan, host: 10.1.2.3, ports: [8000, 9000], protocol: tcp, private: true }
    - { id: read, host: b.example.com, methods: [GET] }
    - { id: pinned, host: c.example.com, paths: [/v1/**], credential: key }
    - { id: watched, host: d.example.com, methods: [GET], mode: observe }
    - { id: git, host: e.example.com, protocol: ssh, ports: [22], hostKeys: ["SHA256:${'A'.repeat(43)}"], keys: [work] }
    - { id: look, host: f.example.com, protocol: ssh, ports: [22], hostKeys: ["SHA256:${'A'.repeat(43)}"] }
  deny: [{ id: never, host: t.example.com }]
credentials:
  key: { from: env:KEY, header: x-key }
`);
    expect(section(lines, 'reaches')).toEqual([
      'deny     t.example.com  (never)',
      'allow    a.example.com:443 https  (plain)',
      'allow    10.1.2.3:8000,9000 tcp, private addresses too  (lan)',
      'allow    b.example.com:443 https, every request read  (read)',
      'allow    c.example.com:443 https, every request read, only as key  (pinned)',
      'allow    d.example.com:443 https, every request read, observing  (watched)',
      'allow    e.example.com:22 ssh, ssh keys lent  (git)',
      'allow    f.example.com:22 ssh  (look)',
    ]);
  });

  it('names what is looked for, who is asked and the proxy, never a canary or a secret', () => {
    const lines = explained(`
network:
  allow: [{ host: a.example.com, methods: [GET], dlp: true }]
  dlp: { canaries: [canary-7f1c9a52], everywhere: true }
  ask: { timeout: 30s, pending: 8 }
  parentProxy: { url: "http://proxy.example.com:3128", noProxy: [.corp.example], credential: proxy }
credentials:
  proxy: { from: env:PROXY_LOGIN, hosts: [proxy.example.com:3128], basic: true }
`);
    const rows = section(lines, 'reaches');
    expect(rows.find((row) => row.startsWith('dlp '))).toMatch(
      /^dlp {6}deny, shipped patterns, 0 patterns and 1 canaries of yours, .*, every inspected rule, sha256 [0-9a-f]{12}$/,
    );
    expect(rows).toContain('ask      waits 30s for an answer, 8 questions at once');
    expect(rows).toContain('proxy    http://proxy.example.com:3128 as proxy, directly: .corp.example');
    expect(lines.join('\n')).not.toContain('canary-7f1c9a52');
  });
});

describe('what a plan spends', () => {
  const limits = '  budget: { requests: 10, requestsPerMinute: 4 }\n';

  it('limits and budgets; what happens when they are used up only where there is one', () => {
    const paused = section(explained(`network:\n${limits}  overBudget: pause\n`), 'spends');
    expect(paused.slice(-3)).toEqual([
      'network requests 10',
      'network requestsPerMinute 4',
      'network over budget: everything inside is stopped',
    ]);
    expect(section(explained(`network:\n${limits}`), 'spends').at(-1)).toBe('network requestsPerMinute 4');
    const none = section(explained('network:\n  overBudget: pause\n'), 'spends');
    expect(none.join('\n')).not.toContain('over budget');
  });
});

describe('what a plan shows', () => {
  it('placeholders by credential, in the environment', () => {
    const lines = explained(`
network: { allow: [{ host: c.example.com, credential: key }] }
credentials:
  key: { from: env:KEY, header: x-key, expose: { env: KEY_INSIDE } }
`);
    expect(section(lines, 'environment')).toEqual([
      'PATH=/usr/bin',
      'KEY_INSIDE=(a placeholder of credential key)',
    ]);
  });

  it('names of files cannot write to the terminal', () => {
    expect(explained('').find((line) => line.startsWith('workspace'))).toBe('workspace  /work/a\\x1b[31mb');
  });
});
