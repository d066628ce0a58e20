import { z } from 'zod';
import { BASE_EXPECTED, baseProblem } from './base-text.ts';
import { DRIVERS } from './driver-names.ts';
import { credentials } from './schema-credentials.ts';
import {
  boundedSize,
  checkedText,
  count,
  cpu,
  duration,
  envPassName,
  envSetName,
  envValue,
  pathEntry,
  prose,
  section,
  size,
  word,
  yesNo,
} from './schema-leaves.ts';
import { network } from './schema-network.ts';

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
  base: checkedText((text) => {
    const why = baseProblem(text);
    return why === undefined ? undefined : { expected: BASE_EXPECTED, why };
  })
    .optional()
    .describe(
      "What stands at /: the host's base system (host), an image of the store (image:NAME), or a directory.",
    ),
  tmp: boundedSize(64 * 1024)
    .optional()
    .describe('Size of the private /tmp.'),
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
  driver: word(...DRIVERS)
    .optional()
    .describe(
      "What the container tier is made with: gvisor (a kernel of its own), or an engine of this machine, docker or podman (with its usual runtime the host's kernel: weaker). Or the vm tier: qemu, or firecracker (unverified).",
    ),
  filesystem: filesystem.optional(),
  network: network.optional(),
  credentials: credentials
    .optional()
    .describe('Credentials that the gateway puts in on the way out; the sandbox holds placeholders.'),
  process: processSection.optional(),
  limits: limits.optional(),
  approvals: anything.optional().describe('Reserved: approvals.'),
  monitor: anything.optional().describe('Reserved: monitoring.'),
}).describe('A Glovebox policy.');

export type PolicyDocument = z.infer<typeof policyDocument>;
