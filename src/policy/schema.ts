import { z } from 'zod';
import { HOST_LOOPBACK, isPrivateLiteral, parseHostEntry } from './host-entry.ts';
import {
  boundedSize,
  count,
  cpu,
  duration,
  envPassName,
  envSetName,
  envValue,
  hostEntryText,
  hostText,
  issue,
  pathEntry,
  port,
  prose,
  ruleId,
  section,
  size,
  word,
  yesNo,
  type IssueFacts,
} from './schema-leaves.ts';

export const TIERS = ['process', 'container', 'vm', 'vm+gvisor', 'auto'] as const;
export const LIMIT_NAMES = [
  'cpu',
  'memory',
  'pids',
  'files',
  'fileSize',
  'output',
  'timeout',
  'ttl',
] as const;

const list = <T extends z.ZodType>(item: T): z.ZodArray<T> => z.array(item, { error: 'a list' });
const anything = z.record(z.string(), z.json(), { error: 'a mapping' });

const budget = section({
  requests: count.optional().describe('HTTP requests.'),
  upload: size.optional().describe('Bytes sent.'),
  download: size.optional().describe('Bytes received.'),
  connections: count.optional().describe('Connections.'),
  names: count.optional().describe('Different names looked up.'),
}).describe('Totals for the life of the sandbox.');

const allowObject = section({
  id: ruleId.optional().describe('Name of the rule in records.'),
  host: hostText('allow').describe(
    'A name, *.name, an IP address, or host-loopback for a service on this machine.',
  ),
  port: port.optional(),
  ports: list(port)
    .min(1, { error: 'at least one port' })
    .max(256, { error: 'at most 256 ports' })
    .optional(),
  protocol: word('https', 'http', 'tcp')
    .optional()
    .describe('https checks the name in the TLS greeting, http the Host header; tcp is opaque.'),
  private: yesNo.optional().describe('Also private, CGNAT and unique-local addresses.'),
  allowNoSni: yesNo.optional().describe('TLS without a name in its greeting passes.'),
  tls: word('inspect', 'passthrough')
    .optional()
    .describe('inspect: terminate with the CA of the sandbox and look inside.'),
  methods: list(
    z.string({ error: 'text' }).regex(/^[A-Z][A-Z0-9-]{0,31}$/, { error: 'an HTTP method in capitals' }),
  )
    .min(1, { error: 'at least one method' })
    .optional(),
  paths: list(
    z.string({ error: 'text' }).regex(/^\/[\u0021-\u0024\u0026-\u007e]*$/, {
      error: 'a path that begins with "/" and has no "%" escapes',
    }),
  )
    .min(1, { error: 'at least one path' })
    .optional(),
  credential: z.string({ error: 'the name of a credential' }).optional(),
  budget: budget.optional(),
  why: prose.optional(),
})
  .check((ctx) => {
    for (const found of allowProblems(ctx.value)) {
      const { key, ...facts } = found;
      ctx.issues.push({ ...issue(ctx.value[key], facts), path: [key] });
    }
  })
  .describe('One network grant.');

export type AllowObject = z.infer<typeof allowObject>;

const allowEntry = z.union(
  [
    hostEntryText('allow')
      .check((ctx) => {
        const entry = parseHostEntry(ctx.value, 'allow');
        const facts = entry.ok ? shorthandProblem(entry.host, entry.port) : undefined;
        if (facts !== undefined) ctx.issues.push(issue(ctx.value, facts));
      })
      .describe('host or host:port; the port is 443 when left out.'),
    allowObject,
  ],
  { error: 'a host, or { host, ports, … }' },
);

const denyEntry = z.union(
  [
    hostEntryText('deny').describe('host or host:port; every port when left out.'),
    section({
      id: ruleId.optional(),
      host: hostText('deny'),
      port: port.optional(),
      ports: list(port).min(1, { error: 'at least one port; leave the key out for every port' }).optional(),
      reason: prose.optional().describe('Shown to the refused program.'),
      why: prose.optional(),
    }).check((ctx) => {
      if (ctx.value.port !== undefined && ctx.value.ports !== undefined)
        ctx.issues.push({ ...issue(ctx.value.port, { expected: 'either port or ports' }), path: ['port'] });
    }),
  ],
  { error: 'a host, or { host, ports, reason }' },
);

const envEntry = z.union(
  [
    envPassName.describe('Name of a variable of the host that passes.'),
    section({ name: envPassName, why: prose.optional() }),
    section({
      set: z
        .record(envSetName, envValue, { error: 'a mapping of names to text' })
        .describe('Variables with a fixed value.'),
      why: prose.optional(),
    }),
  ],
  { error: 'a name, { name, why } or { set: { NAME: value } }' },
);

const workspace = z.union(
  [
    z.string({ error: 'text' }).min(1),
    section({
      path: z.string({ error: 'text' }).min(1).optional(),
      writable: yesNo.optional().describe('false: the workspace is visible read-only.'),
    }),
  ],
  { error: 'a directory, or { path, writable }' },
);

const filesystem = section({
  workspace: workspace
    .optional()
    .describe(
      'The one writable tree, at the same path inside. In the organisation policy: the tree that every workspace must lie in.',
    ),
  mode: word('direct', 'review')
    .optional()
    .describe('review: copy-on-write, a person applies the difference.'),
  read: list(pathEntry('read')).optional().describe('Visible beside the base system, read-only.'),
  write: list(pathEntry('write')).optional().describe('Visible and writable beside the workspace.'),
  deny: list(pathEntry('deny'))
    .optional()
    .describe('Neither readable nor writable, also where it does not exist yet.'),
  protect: list(pathEntry('protect'))
    .optional()
    .describe('Readable, never writable. "!NAME" lifts a built-in protection.'),
  tmp: boundedSize(64 * 1024)
    .optional()
    .describe('Size of the private /tmp.'),
});

const network = section({
  allow: list(allowEntry).optional().describe('What may be reached; nothing else is.'),
  deny: list(denyEntry).optional().describe('Refused whatever allow says.'),
  budget: budget.optional(),
});

const processSection = section({
  env: list(envEntry).optional().describe('The environment inside: nothing passes that is not named.'),
  seccomp: word('default', 'strict', 'debug').optional().describe('System call profile.'),
  user: z
    .string({ error: 'text' })
    .regex(/^(?!(?:root|nobody)$)[a-z_][a-z0-9_-]{0,30}$/, {
      error: 'a login name other than root and nobody',
    })
    .optional()
    .describe('Login name inside.'),
  nesting: yesNo
    .optional()
    .describe('Allows nested user namespaces (Chromium, rootless containers): weaker.'),
});

const limits = section({
  cpu: cpu.optional(),
  memory: size.optional().describe('Memory of the whole sandbox.'),
  pids: count.optional().describe('Processes and threads at once.'),
  files: count.optional().describe('Open files of one process.'),
  fileSize: size.optional().describe('Size of one file.'),
  output: size.optional().describe('Bytes of output before the command is ended.'),
  timeout: duration.optional().describe('Wall clock of one command.'),
  ttl: duration.optional().describe('Life of the sandbox.'),
  require: list(word(...LIMIT_NAMES))
    .optional()
    .describe('Refuse to start when one of these cannot be enforced in full.'),
});

/** One policy file as it is written. */
export const policyDocument = section({
  $schema: z.string({ error: 'text' }).optional().describe('For editors.'),
  version: z.literal(1, { error: '1' }).describe('Version of the language.'),
  extends: z
    .union(
      [
        z.string().min(1),
        z.array(z.string({ error: 'text' }).min(1)).max(32, { error: 'at most 32 entries' }),
      ],
      { error: 'a list such as [profile:node]' },
    )
    .optional()
    .describe('Built-in profiles (profile:node) and, outside project policies, other policy files.'),
  description: prose.optional().describe('What this policy is for.'),
  tier: word(...TIERS)
    .optional()
    .describe('The least tier.'),
  filesystem: filesystem.optional(),
  network: network.optional(),
  credentials: z
    .record(
      z.string().regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, { error: 'a name of letters, digits, "_" and "-"' }),
      anything,
      { error: 'a mapping of names' },
    )
    .optional()
    .describe('Credentials that the gateway puts in on the way out.'),
  process: processSection.optional(),
  limits: limits.optional(),
  approvals: anything.optional().describe('Reserved: approvals.'),
  monitor: anything.optional().describe('Reserved: monitoring.'),
}).describe('A Glovebox policy.');

export type PolicyDocument = z.infer<typeof policyDocument>;

type AllowProblem = IssueFacts & { readonly key: keyof AllowObject };

/** What is wrong with a rule as a whole. */
function* allowProblems(rule: AllowObject): Generator<AllowProblem> {
  if (rule.port !== undefined && rule.ports !== undefined)
    yield { key: 'port', expected: 'either port or ports' };
  const portless = rule.port === undefined && rule.ports === undefined;
  if (portless && rule.protocol === 'tcp')
    yield { key: 'protocol', expected: 'ports beside protocol tcp', why: 'tcp has no default port' };
  if (rule.host === HOST_LOOPBACK) yield* loopbackProblems(rule, portless);
  if (isPrivateLiteral(rule.host) && rule.private !== true)
    yield { key: 'host', expected: 'private: true beside it', why: 'it is a private address' };
  if (rule.tls === 'inspect' || rule.protocol === undefined || rule.protocol === 'https') {
    if (rule.tls === 'passthrough') yield* insideProblems(rule, 'tls: passthrough does not look inside');
  } else if (rule.protocol === 'tcp') {
    yield* insideProblems(rule, 'tcp is opaque');
  }
  if (rule.tls === 'inspect' && rule.protocol !== undefined && rule.protocol !== 'https')
    yield { key: 'tls', expected: 'protocol: https', why: `there is no TLS in ${rule.protocol}` };
  if (rule.credential !== undefined && rule.host.startsWith('*.'))
    yield {
      key: 'credential',
      expected: 'one exact host',
      why: 'a wildcard could send the credential to a host nobody named',
    };
  if (rule.credential !== undefined && rule.protocol === 'http')
    yield { key: 'credential', expected: 'protocol: https', why: 'http would send the credential in clear' };
}

function* insideProblems(rule: AllowObject, why: string): Generator<AllowProblem> {
  for (const key of ['methods', 'paths', 'credential'] as const) {
    if (rule[key] !== undefined) yield { key, expected: 'a rule that inspects', why };
  }
}

function* loopbackProblems(rule: AllowObject, portless: boolean): Generator<AllowProblem> {
  if (portless)
    yield {
      key: 'host',
      expected: 'ports beside it',
      why: 'a service on this machine is allowed by its port',
    };
  if (rule.protocol !== 'tcp' && rule.protocol !== 'http')
    yield {
      key: 'host',
      expected: 'protocol: tcp or http beside it',
      why: 'services on the loopback have no certificate for this name',
    };
}

function shorthandProblem(host: string, portNumber: number | undefined): IssueFacts | undefined {
  if (host === HOST_LOOPBACK && portNumber === undefined)
    return { expected: `${HOST_LOOPBACK}:PORT`, why: 'a service on this machine is allowed by its port' };
  if (isPrivateLiteral(host))
    return { expected: `{ host: ${host}, private: true, … }`, why: 'it is a private address' };
  return undefined;
}
