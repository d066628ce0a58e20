import { z } from 'zod';
import { parsePathGlob } from '../net/http-path-glob.ts';
import { parseJsonSelector } from '../net/json-scan-select.ts';
import { compileLinearRegex } from '../net/linear-regex.ts';
import { HEADER_NAME, isFramingHeader, parsePlace, PLACE_EXPECTED } from './places.ts';
import { PRESET_NAMES } from './presets.ts';
import {
  checkedText,
  count,
  duration,
  issue,
  prose,
  section,
  size,
  word,
  yesNo,
  type IssueFacts,
} from './schema-leaves.ts';

const list = <T extends z.ZodType>(item: T, most = 256): z.ZodArray<T> =>
  z.array(item, { error: 'a list' }).max(most, { error: `at most ${most} entries` });
const filled = <T extends z.ZodType>(item: T, what: string): z.ZodArray<T> =>
  list(item).min(1, { error: `at least one ${what}` });

export const method = checkedText((text) => {
  if (!/^[A-Z][A-Z0-9-]{0,31}$/.test(text)) {
    const upper = text.toUpperCase();
    return {
      expected: 'an HTTP method in capitals',
      ...(/^[a-z]+$/i.test(text) ? { nearest: upper } : {}),
    };
  }
  return /^(?:CONNECT|TRACE|TRACK)$/.test(text)
    ? { expected: 'another method', why: `${text} never passes` }
    : undefined;
});

export const pathPattern = checkedText((text) => {
  const expected = 'a path that begins with "/" and has no "%" escapes';
  if (!/^\/[\u0021-\u007e]*$/.test(text) || text.includes('%')) return { expected };
  if (text.includes('?'))
    return { expected, why: 'it holds a query; write query: { NAME: VALUE } in `requests`' };
  if (/[[\]{}]/.test(text)) return { expected, why: 'brackets and braces have no meaning in it' };
  const result = parsePathGlob(text, 'allow');
  return result.ok ? undefined : { expected, why: result.why };
}).describe('A glob over the canonical path: "*" within one segment, "**" over any number.');

export const regex = checkedText((text) => {
  const result = text === '' ? { ok: false as const, why: 'it is empty' } : compileLinearRegex(text);
  return result.ok
    ? undefined
    : { expected: 'a pattern in RE2 syntax (no lookaround, no back references)', why: result.why };
});

const shortText = checkedText((text) =>
  /^[^\u0000-\u001f\u007f]{0,1000}$/.test(text) ? undefined : { expected: 'text without control characters' },
);

const valueObject = section({
  exact: shortText.optional(),
  prefix: shortText.optional(),
  regex: regex.optional(),
}).check((ctx) => {
  const written = Object.values(ctx.value).filter((value) => value !== undefined).length;
  // After an unknown key nobody needs to hear that a known one is missing.
  if (written !== 1 && ctx.issues.length === 0)
    ctx.issues.push(issue(ctx.value, { expected: 'one of exact, prefix and regex' }));
});
const valueMatch = z
  .union([shortText, valueObject], { error: 'text, the word any, or { prefix }, { regex }, { exact }' })
  .describe('The exact text; `any`; or { prefix }, { regex } (RE2, anywhere in the value), { exact }.');
export type ValueMatchWritten = z.infer<typeof valueMatch>;

const headerName = z.string().regex(HEADER_NAME, { error: 'the name of a header' });
const parameterName = z.string().regex(/^[\u0020-\u007e]{1,128}$/, { error: 'the name of a parameter' });
const headerMatches = z.record(headerName, valueMatch, { error: 'a mapping of header names' });

const requestMatch = section({
  methods: filled(method, 'method').optional(),
  path: pathPattern.optional(),
  rpc: checkedText((text) =>
    /^[A-Za-z_][\w.]*\/(?:[A-Za-z_]\w*|\*)$/.test(text)
      ? undefined
      : { expected: 'a gRPC method such as pkg.Service/Method or pkg.Service/*' },
  )
    .optional()
    .describe('A gRPC method: POST with a gRPC content type to that path.'),
  query: z
    .record(parameterName, valueMatch, { error: 'a mapping of parameters' })
    .optional()
    .describe('Each named parameter must occur exactly once; in `refuse` at least once.'),
  headers: headerMatches.optional(),
  header: headerMatches.optional().describe('The same as `headers`.'),
  why: prose.optional(),
}).check((ctx) => {
  const { why: _why, ...parts } = ctx.value;
  const facts = matchProblem(parts);
  if (facts !== undefined && ctx.issues.length === 0) ctx.issues.push(issue(ctx.value, facts));
});
export type RequestMatchWritten = z.infer<typeof requestMatch>;

function matchProblem(parts: Omit<RequestMatchWritten, 'why'>): IssueFacts | undefined {
  if (Object.values(parts).every((part) => part === undefined))
    return { expected: 'at least one of methods, path, rpc, query and headers' };
  if (parts.rpc !== undefined && (parts.methods !== undefined || parts.path !== undefined))
    return { expected: 'rpc without methods and path', why: 'it stands for both' };
  return parts.headers !== undefined && parts.header !== undefined
    ? { expected: 'either headers or header' }
    : undefined;
}

const words = z.union([shortText, filled(shortText, 'value')], { error: 'text, or a list of text' });

const jsonDeny = section({
  path: checkedText((text) =>
    parseJsonSelector(text).ok ? undefined : { expected: 'a place such as $.a.b, $.a[*].b or $..b' },
  ),
  equals: words.optional(),
  prefix: words.optional(),
  why: prose.optional(),
}).check((ctx) => {
  if (ctx.value.equals !== undefined && ctx.value.prefix !== undefined)
    ctx.issues.push({
      ...issue(ctx.value.prefix, { expected: 'either equals or prefix' }),
      path: ['prefix'],
    });
});

const starName = checkedText((text) =>
  /^[\w./:$@-]{1,200}\*?$/.test(text) || text === '*'
    ? undefined
    : { expected: 'a name, or the beginning of names and "*"' },
);

export const credentialName = z
  .string({ error: 'the name of a credential' })
  .regex(/^[A-Za-z][A-Za-z0-9_-]{0,63}$/, { error: 'a name of letters, digits, "_" and "-"' });

export const place = checkedText((text) =>
  parsePlace(text) === undefined ? { expected: PLACE_EXPECTED } : undefined,
);

const passingHeader = headerName.describe('Any case.');
const settableHeader = checkedText((name) => {
  if (!HEADER_NAME.test(name)) return { expected: 'the name of a header' };
  if (isFramingHeader(name)) return { expected: 'another header', why: 'it frames the request' };
  return /^(?:proxy-)?authorization$|^cookie$|api-?key|-token$/i.test(name)
    ? { expected: 'another header', why: 'a secret does not stand in a policy: define a credential' }
    : undefined;
});
const headerValue = checkedText((text) =>
  /^[\u0020-\u007e]{0,4096}$/.test(text) ? undefined : { expected: 'printable ASCII without line breaks' },
);

/** Keys of a rule that look inside: each of them makes an https rule an inspected one. */
export const insideShape = {
  preset: word(...PRESET_NAMES)
    .optional()
    .describe('What a well-known kind of service needs; the other keys of the rule add to it.'),
  methods: filled(method, 'method').optional().describe('With `paths`: these methods to these paths.'),
  paths: filled(pathPattern, 'path').optional(),
  requests: filled(requestMatch, 'request')
    .optional()
    .describe('Requests that pass: one of these, or of `methods` and `paths`. Neither written: all.'),
  refuse: list(requestMatch).optional().describe('Requests that are refused whatever passes otherwise.'),
  mode: word('enforce', 'observe')
    .optional()
    .describe(
      'observe: record what requests, refuse, json, mcp, graphql and dlp would refuse, and let it pass.',
    ),
  http2: yesNo.optional().describe('HTTP/2 is offered too; gRPC needs it.'),
  encodedSlash: word('deny', 'allow').optional().describe('%2f in a path. Default deny.'),
  websocket: word('deny', 'allow', 'inspect')
    .optional()
    .describe('Default deny. inspect reads the frames, which scanning needs.'),
  requestHeaders: list(passingHeader).optional().describe('Request headers that pass; absent: all.'),
  setHeaders: z
    .record(settableHeader, headerValue, { error: 'a mapping of headers to text' })
    .optional()
    .describe('Set on the way out, replacing what the sandbox sent.'),
  removeHeaders: list(settableHeader).optional(),
  stripResponseHeaders: list(passingHeader).optional(),
  json: list(jsonDeny).optional().describe('What a JSON body may not hold.'),
  mcp: section({
    tools: list(starName).optional().describe('Tools that may be called; absent: all.'),
    methods: list(starName).optional().describe('JSON-RPC methods; absent: all.'),
  })
    .optional()
    .describe('The Model Context Protocol over HTTP.'),
  graphql: section({
    types: filled(word('query', 'mutation', 'subscription'), 'type')
      .optional()
      .describe('Default [query].'),
    fields: list(starName).optional().describe('Top-level fields that may be asked for; absent: all.'),
  }).optional(),
  credential: credentialName
    .optional()
    .describe("A request passes only with this sandbox's placeholder of it, and with no other credential."),
  pin: section({
    credential: credentialName,
    require: yesNo.optional().describe('false: a request without any credential passes too. Default true.'),
    places: filled(place, 'place').optional(),
  })
    .optional()
    .describe('As `credential`, in more words.'),
  credentials: filled(credentialName, 'credential')
    .optional()
    .describe('Credentials that are put in here, without a pin: others pass too.'),
  dlp: yesNo.optional().describe('Look for secrets in what goes out, as network.dlp says.'),
  limits: section({
    requestsPerMinute: count.optional(),
    concurrency: count.optional().describe('Requests at once.'),
    body: size.optional().describe('Bytes of one request body.'),
    time: duration.optional().describe('Whole time of one request.'),
  }).optional(),
} as const;
