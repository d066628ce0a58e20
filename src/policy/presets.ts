import { canonicalJson } from '../base/canonical-json.ts';
import type { JsonDeny, RequestMatch } from './contract.ts';

export const PRESET_NAMES = ['llm-api', 'package-registry', 'git-read'] as const;
export type PresetName = (typeof PRESET_NAMES)[number];

/** One entry of a preset, and why it is there. */
export interface Reasoned<T> {
  readonly value: T;
  readonly why: string;
}

/** What a kind of service needs, and what it offers that a sandbox must not use. */
export interface Preset {
  readonly description: string;
  readonly allow: readonly Reasoned<RequestMatch>[];
  readonly refuse: readonly Reasoned<RequestMatch>[];
  readonly json: readonly Reasoned<JsonDeny>[];
}

const post = (path: string, why: string): Reasoned<RequestMatch> => ({
  value: { methods: ['POST'], path },
  why,
});
const get = (path: string, why: string): Reasoned<RequestMatch> => ({
  value: { methods: ['GET'], path },
  why,
});
/** A path and all below it: `**` stands for no segment too. */
const tree = (path: string, why: string): Reasoned<RequestMatch> => ({ value: { path: `${path}/**` }, why });
const absent = (path: string, why: string): Reasoned<JsonDeny> => ({
  value: { path, match: { kind: 'any' } },
  why,
});
const equals = (path: string, values: readonly string[], why: string): Reasoned<JsonDeny> => ({
  value: { path, match: { kind: 'equals', values } },
  why,
});
const prefix = (path: string, values: readonly string[], why: string): Reasoned<JsonDeny> => ({
  value: { path, match: { kind: 'prefix', values } },
  why,
});

const STORES = 'keeps what a sandbox uploads where others can fetch it';
const MINTS = 'mints keys that work outside the sandbox';
const ASYNC = 'runs after the sandbox is gone, out of sight of its budgets';
const FETCHES = 'makes the origin fetch a URL of the sandbox, past every host rule';
const RUNS = 'runs a tool on the side of the origin, past every host rule';
const REMOTE = ['http:', 'https:'] as const;
/** Tools of the origin itself. Messages of its real-time API hold them in a session or a response. */
const TOOLS = [
  'web_search',
  'web_fetch',
  'code_execution',
  'code_interpreter',
  'file_search',
  'image_generation',
  'mcp',
] as const;
/** What lenient readers of JSON take for true. */
const TRUE = ['true', '1', 'yes', 'on'] as const;

/** Sources: the API references of Anthropic and OpenAI; the incident is in docs/design/gateway.md. */
const LLM_API: Preset = {
  description:
    'inference of an Anthropic or OpenAI style API, without what stores, fetches, runs or mints keys',
  allow: [
    post('/v1/messages', 'inference (Anthropic)'),
    post('/v1/messages/count_tokens', 'counts before it asks'),
    post('/v1/chat/completions', 'inference (OpenAI)'),
    post('/v1/completions', 'inference, the older form'),
    post('/v1/responses', 'inference (OpenAI), the newer form'),
    post('/v1/embeddings', 'vectors of a text'),
    get('/v1/models', 'which models there are'),
    get('/v1/models/**', 'facts about one model'),
  ],
  refuse: [
    tree('/v1/files', STORES),
    tree('/v1/uploads', STORES),
    tree('/v1/vector_stores', STORES),
    tree('/v1/containers', STORES),
    tree('/v1/conversations', STORES),
    tree('/v1/assistants', STORES),
    tree('/v1/threads', STORES),
    tree('/v1/skills', RUNS),
    tree('/v1/fine_tuning', STORES),
    tree('/v1/evals', ASYNC),
    tree('/v1/batches', ASYNC),
    tree('/v1/messages/batches', ASYNC),
    tree('/v1/organizations', MINTS),
    tree('/v1/organization', MINTS),
    tree('/v1/realtime', MINTS),
    tree('/v1/oauth', MINTS),
    tree('/oauth', MINTS),
    {
      value: {
        headers: {
          'anthropic-beta': {
            kind: 'regex',
            pattern:
              '(?i)(?:files-api|mcp-client|code-execution|web-fetch|web-search|skills|message-batches)',
          },
        },
      },
      why: 'switches on features that fetch, run or store on the side of the origin',
    },
    {
      value: { headers: { 'openai-beta': { kind: 'regex', pattern: '(?i)(?:assistants|realtime)' } } },
      why: 'switches on features that store or mint',
    },
  ],
  json: [
    absent('$.mcp_servers', RUNS),
    absent('$.container', RUNS),
    absent('$.conversation', STORES),
    absent('$.web_search_options', FETCHES),
    ...['$.tools[*]', '$.session.tools[*]', '$.response.tools[*]'].flatMap((tool) => [
      prefix(`${tool}.type`, TOOLS, RUNS),
      absent(`${tool}.server_url`, RUNS),
      absent(`${tool}.connector_id`, RUNS),
    ]),
    equals('$..source.type', ['url', 'file'], FETCHES),
    prefix('$..image_url', REMOTE, FETCHES),
    prefix('$..image_url.url', REMOTE, FETCHES),
    absent('$..file_url', FETCHES),
    absent('$..file_id', 'reads what somebody else may have stored for it'),
    equals('$.background', TRUE, ASYNC),
    equals('$.store', TRUE, STORES),
  ],
};

const PACKAGE_REGISTRY: Preset = {
  description: 'reading packages, publishing none',
  allow: [{ value: { methods: ['GET', 'HEAD'], path: '/**' }, why: 'package metadata and archives' }],
  refuse: [],
  json: [],
};

const GIT_READ: Preset = {
  description: 'git clone and fetch over HTTPS, no push',
  allow: [
    {
      value: {
        methods: ['GET'],
        path: '/**/info/refs',
        query: { service: { kind: 'exact', value: 'git-upload-pack' } },
      },
      why: 'which branches there are (gitprotocol-http)',
    },
    post('/**/git-upload-pack', 'the objects of a fetch (gitprotocol-http)'),
  ],
  refuse: [
    { value: { path: '/**/git-receive-pack' }, why: 'is a push' },
    {
      value: { path: '/**/info/refs', query: { service: { kind: 'exact', value: 'git-receive-pack' } } },
      why: 'begins a push',
    },
  ],
  json: [],
};

/** Every preset by its name. */
export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  'llm-api': LLM_API,
  'package-registry': PACKAGE_REGISTRY,
  'git-read': GIT_READ,
};

/** Why an entry of a rule is there, when a preset brought it. */
export function presetWhy(entry: RequestMatch | JsonDeny): string | undefined {
  const text = canonicalJson(entry);
  for (const preset of Object.values(PRESETS)) {
    const all: readonly Reasoned<RequestMatch | JsonDeny>[] = [
      ...preset.allow,
      ...preset.refuse,
      ...preset.json,
    ];
    const found = all.find((one) => canonicalJson(one.value) === text);
    if (found !== undefined) return found.why;
  }
  return undefined;
}
