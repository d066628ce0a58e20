import type { Plan } from '../../src/drivers/contract.ts';
import type { PlanFacts } from '../../src/drivers/plan.ts';
import { compilePlan } from '../../src/drivers/plan.ts';
import type { PathRule, Policy } from '../../src/policy/contract.ts';

const ORIGIN = {
  layer: 'user',
  position: { file: '/home/ada/.config/glovebox/policy.yaml', line: 3, column: 5 },
} as const;

const rule = (id: string, path: string): PathRule => ({
  id,
  path,
  glob: false,
  optional: false,
  origin: ORIGIN,
});

/** A policy that uses every part a plan is made from. Nothing of this machine goes in. */
export const POLICY: Policy = {
  version: 1,
  tier: 'process',
  filesystem: {
    workspace: '/home/ada/project',
    mode: 'direct',
    workspaceWritable: true,
    read: [rule('user/filesystem.read[0]', '/home/ada/.gitconfig')],
    write: [rule('user/filesystem.write[0]', '/srv/cache')],
    deny: [
      rule('user/filesystem.deny[0]', '/home/ada/project/.env'),
      rule('user/filesystem.deny[1]', '/home/ada/project/keys/id'),
    ],
    protect: [rule('user/filesystem.protect[0]', '/home/ada/project/.git/hooks')],
    unprotect: [],
    tmpBytes: 268_435_456,
  },
  network: {
    allow: [
      {
        id: 'api',
        host: 'api.example.com',
        ports: [443],
        protocol: 'https',
        private: false,
        allowNoSni: false,
        origin: ORIGIN,
      },
      {
        id: 'db',
        host: '10.0.0.7',
        ports: [5432, 3128],
        protocol: 'tcp',
        private: true,
        allowNoSni: false,
        origin: ORIGIN,
      },
    ],
    deny: [{ id: 'user/network.deny[0]', host: '*.evil.example', origin: ORIGIN }],
    budget: { requests: 1000 },
  },
  credentials: [],
  process: {
    envPass: ['TERM', 'ABSENT', 'LD_PRELOAD'],
    envSet: { CI: '1' },
    seccomp: 'default',
    user: 'sandbox',
    nesting: false,
  },
  limits: {
    cpu: 1.5,
    memoryBytes: 1_073_741_824,
    pids: 256,
    timeoutMs: 600_000,
    require: ['memory'],
    explicit: ['memory', 'timeout'],
  },
  reserved: {},
  layers: [{ layer: 'user', file: '/home/ada/.config/glovebox/policy.yaml', sha256: '00', state: 'used' }],
};

/** Facts of a merged-/usr system with one directory of each kind. */
export const FACTS: PlanFacts = {
  tier: 'process',
  driver: 'bubblewrap',
  view: {
    hidden: [{ path: '/proc/kcore', type: 'file', why: 'memory of the machine' }],
    trust: { bundle: true, java: false },
    system: [
      { path: '/usr', source: '/usr', why: 'programs and libraries' },
      { path: '/bin', link: 'usr/bin', source: '/bin', why: 'programs at their traditional path' },
      { path: '/etc/ssl/certs', source: '/etc/ssl/certs', why: 'certificate authorities' },
    ],
    trees: [
      {
        target: '/home/ada/.gitconfig',
        source: '/home/ada/dotfiles/gitconfig',
        writable: false,
        rule: 'user/filesystem.read[0]',
      },
      { target: '/srv/cache', source: '/srv/cache', writable: true, rule: 'user/filesystem.write[0]' },
      {
        target: '/home/ada/project',
        source: '/home/ada/project',
        writable: true,
        rule: 'filesystem.workspace',
      },
    ],
  },
  guards: [
    {
      action: 'protect',
      path: '/home/ada/project/.git/hooks',
      type: 'dir',
      root: '/home/ada/project',
      rule: 'user/filesystem.protect[0]',
    },
    {
      action: 'protect',
      path: '/home/ada/project/.envrc',
      type: 'missing',
      root: '/home/ada/project',
      rule: 'builtin.protect',
    },
    {
      action: 'deny',
      path: '/home/ada/project/.env',
      type: 'missing',
      root: '/home/ada/project',
      rule: 'user/filesystem.deny[0]',
    },
    {
      action: 'deny',
      path: '/home/ada/project/keys/id',
      type: 'file',
      root: '/home/ada/project',
      rule: 'user/filesystem.deny[1]',
    },
  ],
  hostEnv: {
    PATH: '/srv/cache/bin:/opt/other/bin:/usr/bin',
    TERM: 'xterm',
    LD_PRELOAD: '/evil.so',
    SECRET: 'secret',
  },
  home: '/home/ada',
  cwd: '/home/ada/project/src',
};

export const plan = (): Plan => compilePlan(POLICY, FACTS);
