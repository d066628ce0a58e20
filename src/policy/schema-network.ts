import { z } from 'zod';
import { canonicalHost } from '../net/authority.ts';
import { parseNoProxyEntry } from '../net/no-proxy.ts';
import { HOST_LOOPBACK, isPrivateLiteral, privateRangeProblem, parseHostEntry } from './host-entry.ts';
import { pathProblem } from './path-text.ts';
import {
  boundedDuration,
  boundedSize,
  checkedText,
  count,
  hostEntryText,
  hostText,
  issue,
  port,
  prose,
  ruleId,
  section,
  size,
  word,
  yesNo,
  type IssueFacts,
} from './schema-leaves.ts';
import { credentialName, insideShape, regex } from './schema-requests.ts';
import { ruleProblems } from './schema-rules.ts';

const list = <T extends z.ZodType>(item: T): z.ZodArray<T> => z.array(item, { error: 'a list' });

const budget = section({
  requests: count.optional().describe('HTTP requests.'),
  upload: size.optional().describe('Bytes sent.'),
  download: size.optional().describe('Bytes received.'),
  connections: count.optional().describe('Connections.'),
  names: count.optional().describe('Different names looked up.'),
  requestsPerMinute: count.optional(),
  concurrency: count.optional().describe('Connections or requests at once.'),
}).describe('Totals for the life of the sandbox.');

const privateRange = checkedText((text) => {
  const problem = privateRangeProblem(text);
  if (problem === undefined) return undefined;
  const nearest = problem.hint?.replace(/^write /, '');
  const facts = { expected: 'a range of private addresses such as 10.2.0.0/16', why: problem.why };
  return nearest === undefined ? facts : { ...facts, nearest };
});

const allowObject = section({
  id: ruleId.optional().describe('Name of the rule in records.'),
  host: hostText('allow').describe(
    'A name, *.name, an IP address, a range such as 10.1.2.0/24, or host-loopback for a service on this machine.',
  ),
  port: port.optional(),
  ports: list(port)
    .min(1, { error: 'at least one port' })
    .max(256, { error: 'at most 256 ports' })
    .optional(),
  protocol: word('https', 'http', 'tcp', 'ssh')
    .optional()
    .describe(
      'https checks the name in the TLS greeting, http the Host header; tcp is opaque; ssh is tcp with a checked host key.',
    ),
  private: z
    .union([yesNo, list(privateRange).min(1, { error: 'at least one range' })], {
      error: 'true, false, or a list of ranges such as [10.2.0.0/16]',
    })
    .optional()
    .describe('Also private, CGNAT and unique-local addresses: all, or those of some ranges.'),
  allowNoSni: yesNo.optional().describe('TLS without a name in its greeting passes.'),
  tls: word('inspect', 'passthrough')
    .optional()
    .describe(
      'inspect: terminate with the CA of the sandbox and look inside; implied by every key that does.',
    ),
  hostKeys: list(fingerprint())
    .min(1, { error: 'at least one host key' })
    .optional()
    .describe('ssh: host keys of the hosts that lent keys may log in to, SHA256:…'),
  keys: list(
    checkedText((text) =>
      /^[^\u0000-\u001f\u007f]{1,200}$/.test(text) ? undefined : { expected: 'a fingerprint or a comment' },
    ),
  )
    .min(1, { error: 'at least one key' })
    .optional()
    .describe('ssh: keys of your agent that may sign, by fingerprint or comment; absent: none.'),
  budget: budget.optional(),
  ...insideShape,
  why: prose.optional(),
})
  .check((ctx) => {
    for (const { key, ...facts } of ruleProblems(ctx.value))
      ctx.issues.push({ ...issue(ctx.value[key], facts), path: [key] });
  })
  .describe('One network grant.');

export type AllowObject = z.infer<typeof allowObject>;

function fingerprint(): z.ZodString {
  return checkedText((text) =>
    /^SHA256:[A-Za-z0-9+/]{43}=?$/.test(text)
      ? undefined
      : { expected: 'a fingerprint such as SHA256:…, as `ssh-keygen -l` prints it' },
  );
}

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

const dlpObject = section({
  action: word('deny', 'observe').optional().describe('Default deny.'),
  patterns: yesNo.optional().describe('Shipped patterns: cloud keys, tokens, private keys. Default true.'),
  custom: list(section({ name: ruleId, pattern: regex, why: prose.optional() }))
    .max(100, { error: 'at most 100 patterns' })
    .optional(),
  canaries: list(
    checkedText((text) =>
      text.length >= 8 && text.length <= 4096 ? undefined : { expected: 'at least 8 characters' },
    ),
  )
    .max(1000, { error: 'at most 1000 canaries' })
    .optional()
    .describe('Values that exist only to be seen leaving.'),
  decodeDepth: z
    .int({ error: 'a number from 0 to 4' })
    .min(0, { error: 'a number from 0 to 4' })
    .max(4, { error: 'a number from 0 to 4' })
    .optional()
    .describe('Layers of gzip, base64, hex, url and JSON coding that are undone. Default 2.'),
  maxInspect: boundedSize(1024).optional().describe('Default 10MiB.'),
  uninspectable: word('deny', 'allow')
    .optional()
    .describe('What is too large, too deep or in an unknown coding.'),
  names: yesNo.optional().describe('Also coded data in host names and paths. Default true.'),
  everywhere: yesNo
    .optional()
    .describe('Every rule that looks inside is scanned; false: only those that say dlp: true. Default true.'),
});

const PROXY_EXPECTED = 'a proxy such as http://proxy.example.com:3128';

const proxyUrl = checkedText((text): IssueFacts | undefined => {
  if (/^https:/i.test(text)) return { expected: PROXY_EXPECTED, why: 'TLS to the proxy is not supported' };
  if (text.includes('@'))
    return { expected: PROXY_EXPECTED, why: 'a secret does not stand in a policy: use credential' };
  const match = /^http:\/\/(\[[0-9a-f:.]+\]|[^:/[\]]+):([1-9][0-9]{0,4})\/?$/i.exec(text);
  const host = (match?.[1] ?? '').replace(/^\[|\]$/g, '');
  return match !== null && Number(match[2]) <= 65_535 && canonicalHost(host).ok
    ? undefined
    : { expected: PROXY_EXPECTED };
});

const noProxyEntry = checkedText((text) =>
  parseNoProxyEntry(text) === undefined
    ? { expected: 'a name, .suffix, an address, a range, or "*"' }
    : undefined,
);

const parentProxy = z.union(
  [
    proxyUrl,
    section({
      url: proxyUrl,
      noProxy: list(noProxyEntry).optional().describe('Reached directly.'),
      credential: credentialName.optional().describe('Basic credentials for it.'),
      why: prose.optional(),
    }),
  ],
  { error: `${PROXY_EXPECTED}, or { url, noProxy, credential }` },
);

export const network = section({
  mode: word('deny', 'names', 'all')
    .optional()
    .describe(
      'deny: only what allow names (default). names: every public name, all: also every public address, on ports 443 and 80.',
    ),
  allow: list(allowEntry).optional().describe('What may be reached; nothing else is.'),
  deny: list(denyEntry).optional().describe('Refused whatever allow says.'),
  budget: budget.optional(),
  overBudget: word('refuse', 'pause')
    .optional()
    .describe('What happens beside the refusal when a budget of the whole is used up. Default refuse.'),
  dlp: z
    .union([yesNo, dlpObject], { error: 'true, false, or { action, patterns, … }' })
    .optional()
    .describe('Look for secrets in what goes out.'),
  parentProxy: parentProxy.optional().describe('A proxy that this machine must use.'),
  ask: z
    .union(
      [
        yesNo,
        section({
          timeout: boundedDuration(1000, 600_000).optional().describe('Default 30s.'),
          pending: z
            .int({ error: 'a number from 1 to 64' })
            .min(1, { error: 'a number from 1 to 64' })
            .max(64, { error: 'a number from 1 to 64' })
            .optional()
            .describe('Questions open at once. Default 8.'),
        }),
      ],
      { error: 'true, false, or { timeout, pending }' },
    )
    .optional()
    .describe('An unknown host is held until a person answers; no answer is a refusal.'),
  trust: list(
    checkedText((text) => {
      const problem = pathProblem(text, 'read', false);
      return problem === undefined ? undefined : { expected: 'a file', why: problem.why };
    }),
  )
    .optional()
    .describe('Files of certificates (PEM) that servers may also be signed by.'),
});

export type NetworkWritten = z.infer<typeof network>;

function shorthandProblem(host: string, portNumber: number | undefined): IssueFacts | undefined {
  if (host === HOST_LOOPBACK && portNumber === undefined)
    return { expected: `${HOST_LOOPBACK}:PORT`, why: 'a service on this machine is allowed by its port' };
  if (isPrivateLiteral(host))
    return { expected: `{ host: ${host}, private: true, … }`, why: 'it is a private address' };
  return undefined;
}
