import { z } from 'zod';
import { ENV_NAME, NEVER_PASSED } from './environment-names.ts';
import { isExactHost, parseHostEntry } from './host-entry.ts';
import { pathProblem } from './path-text.ts';
import { HEADER_NAME, isFramingHeader } from './places.ts';
import {
  boundedDuration,
  checkedText,
  issue,
  prose,
  section,
  yesNo,
  type IssueFacts,
} from './schema-leaves.ts';
import { credentialName, pathPattern, place } from './schema-requests.ts';

const SOURCE_EXPECTED =
  'a source: env:NAME, file:PATH, systemd:NAME, store:NAME, or { command: [PROGRAM, …] }';
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

const sourceText = checkedText((text): IssueFacts | undefined => {
  const [kind, ...parts] = text.split(':');
  const rest = parts.join(':');
  if (kind === 'env') return ENV_NAME.test(rest) ? undefined : { expected: 'env:NAME' };
  if (kind === 'systemd' || kind === 'store')
    return NAME.test(rest) ? undefined : { expected: `${kind}:NAME` };
  if (kind !== 'file') return { expected: SOURCE_EXPECTED, why: 'a secret does not stand in a policy' };
  return /^(?:~?\/)/.test(rest) && pathProblem(rest, 'read', true) === undefined
    ? undefined
    : { expected: 'file:PATH, absolute or from ~' };
});

const argument = checkedText((text) =>
  text.length <= 4096 && !text.includes('\0') ? undefined : { expected: 'text without NUL' },
);
const command = section({
  command: z
    .array(argument, { error: 'a list such as [pass, show, x]' })
    .min(1, { error: 'at least the program' })
    .max(64, { error: 'at most 64 words' }),
});
const source = z.union([sourceText, command], { error: SOURCE_EXPECTED });
export type SourceWritten = z.infer<typeof source>;

const from = z.union(
  [
    sourceText,
    command,
    section({ accessKeyId: source, secretAccessKey: source, sessionToken: source.optional() }),
  ],
  { error: `${SOURCE_EXPECTED}; for AWS { accessKeyId, secretAccessKey, sessionToken }` },
);

const exposedName = checkedText((name) => {
  if (!ENV_NAME.test(name)) return { expected: 'the name of one environment variable' };
  return NEVER_PASSED.test(name)
    ? { expected: 'another variable', why: 'it steers a loader or interpreter' }
    : undefined;
});

const FIELDS = ['value', 'accessKeyId', 'secretAccessKey', 'sessionToken'] as const;

const hostEntry = checkedText((text): IssueFacts | undefined => {
  const entry = parseHostEntry(text, 'allow');
  if (!entry.ok)
    return {
      expected: 'one exact host',
      why: entry.why,
      ...(entry.hint === undefined ? {} : { nearest: entry.hint }),
    };
  if (!isExactHost(entry.host))
    return {
      expected: 'one exact host',
      why: 'a wildcard could send the credential to a host nobody named',
    };
  return entry.port === 80
    ? { expected: 'a port with TLS', why: 'http would send the credential in clear' }
    : undefined;
});

const headerPlace = checkedText((text): IssueFacts | undefined => {
  if (!HEADER_NAME.test(text)) return { expected: 'the name of a header' };
  return isFramingHeader(text)
    ? { expected: 'another header', why: 'this one frames the message, and the gateway writes it' }
    : undefined;
});

const credential = section({
  from: from.describe('Where the secret comes from. Only the host reads it.'),
  header: headerPlace.optional().describe('The whole value of this header.'),
  bearer: yesNo.optional().describe('Authorization: Bearer SECRET.'),
  basic: yesNo.optional().describe('User or password of Authorization: Basic.'),
  query: z.string({ error: 'the name of a parameter' }).min(1).optional(),
  cookie: z.string({ error: 'the name of a cookie' }).min(1).optional(),
  sigv4: yesNo.optional().describe('Requests are signed again (AWS Signature Version 4).'),
  in: z
    .array(place, { error: 'a list of places' })
    .min(1, { error: 'at least one place' })
    .max(32, { error: 'at most 32 places' })
    .optional()
    .describe('Further places, such as header:x-api-key, header:authorization:bearer, body.'),
  hosts: z
    .array(hostEntry, { error: 'a list of hosts' })
    .min(1, { error: 'at least one host' })
    .max(256, { error: 'at most 256 hosts' })
    .optional()
    .describe('host or host:port; absent: the hosts of the rules that name this credential.'),
  paths: z.array(pathPattern, { error: 'a list of paths' }).min(1, { error: 'at least one path' }).optional(),
  scrub: yesNo.optional().describe('Responses are scrubbed of it. Default true.'),
  expose: section({
    env: z
      .union([exposedName, z.record(exposedName, z.enum(FIELDS, { error: `one of ${FIELDS.join(', ')}` }))], {
        error: 'a variable, or a mapping of variables to fields',
      })
      .optional(),
    files: z
      .array(
        checkedText((text) =>
          /^~?\//.test(text) && pathProblem(text, 'read', false) === undefined
            ? undefined
            : { expected: 'a file, absolute or from ~' },
        ),
        { error: 'a list of files' },
      )
      .optional()
      .describe('Shown inside with every secret in them replaced by its placeholder.'),
  })
    .optional()
    .describe('How the sandbox learns the placeholder; default: the variable that the secret comes from.'),
  prefix: checkedText((text) =>
    /^[A-Za-z0-9._-]{1,40}$/.test(text) ? undefined : { expected: 'at most 40 letters, digits, "." "_" "-"' },
  )
    .optional()
    .describe("Beginning of the placeholder, for a client's own check of the format."),
  refresh: boundedDuration(1000, 86_400_000).optional().describe('Read the source again after this long.'),
  why: prose.optional(),
}).check((ctx) => {
  for (const { key, ...facts } of credentialProblems(ctx.value))
    ctx.issues.push({ ...issue(ctx.value[key], facts), path: [key] });
});

export type CredentialWritten = z.infer<typeof credential>;

export const credentials = z.record(credentialName, credential, { error: 'a mapping of names' });

/** True for the three parts of an AWS key. */
export function isAwsSource(
  written: CredentialWritten['from'],
): written is Extract<CredentialWritten['from'], { accessKeyId: SourceWritten }> {
  return typeof written === 'object' && 'accessKeyId' in written;
}

function* credentialProblems(
  written: CredentialWritten,
): Generator<IssueFacts & { readonly key: keyof CredentialWritten }> {
  const aws = isAwsSource(written.from);
  const signs = written.sigv4 === true || written.in?.includes('sigv4') === true;
  const others =
    [written.header, written.query, written.cookie].some((name) => name !== undefined) ||
    written.bearer === true ||
    written.basic === true ||
    written.in?.some((text) => text !== 'sigv4') === true;
  if (!aws && !signs && !others)
    yield {
      key: 'from',
      expected: 'a place beside it: header, bearer, basic, query, cookie or in',
    };
  if (signs && !aws)
    yield { key: 'sigv4', expected: 'from: { accessKeyId, secretAccessKey }', why: 'a signature needs both' };
  if (aws && others)
    yield { key: 'from', expected: 'sigv4 as the only place', why: 'an AWS key signs, it is not sent' };
  if (typeof written.expose?.env === 'string' && aws)
    yield { key: 'expose', expected: 'env: { VARIABLE: FIELD }', why: 'an AWS key has several fields' };
  if (typeof written.expose?.env !== 'object') return;
  const wrong = Object.values(written.expose.env).find((field) => (field === 'value') === aws);
  if (wrong !== undefined)
    yield { key: 'expose', expected: aws ? 'fields of an AWS key' : 'value', why: `there is no ${wrong}` };
}
