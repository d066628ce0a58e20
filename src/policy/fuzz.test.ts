import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isGloveboxError } from '../base/errors.ts';
import { coverGap, inTrees } from './covers.ts';
import { diffPolicies } from './diff.ts';
import { PolicyFixture } from './fixture.ts';
import { importEgress } from './import/egress.ts';
import { importSrt } from './import/srt.ts';
import { parsePolicyFile } from './parse.ts';
import { resolveInFull, resolvePolicy } from './resolve.ts';
import { findProjectFile } from './project-file.ts';
import { writeTrust } from './trust.ts';
import { checkDocument } from './schema-errors.ts';

/** Runs an action that may fail, but only in the one way that is meant. */
function orGloveboxError<T>(action: () => T): T | undefined {
  try {
    return action();
  } catch (error) {
    if (isGloveboxError(error)) return undefined;
    throw error;
  }
}

const host = fc.constantFrom(
  'a.test',
  'b.a.test',
  '*.a.test',
  'x.b.a.test',
  'c.test',
  '*.c.test',
  '10.0.0.1',
  '8.8.8.8',
  'host-loopback',
  'localhost',
);
const somePath = fc.constantFrom(
  '/opt',
  '/opt/a',
  '/srv',
  '~/x',
  '~/.ssh',
  'src',
  '.env',
  '**/*.pem',
  '/etc/../srv',
  '~',
  '../..',
  '!.vscode',
  '.vscode',
  '!.git/hooks',
);
const size = fc.constantFrom('64KiB', '1GiB', '3GiB', '9GiB', 'unlimited');
const some = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { maxLength: 3 });
const maybe = (
  shape: Readonly<Record<string, fc.Arbitrary<unknown>>>,
): fc.Arbitrary<Readonly<Record<string, unknown>>> => fc.record(shape, { requiredKeys: [] });

const publicHost = fc.constantFrom(
  'a.test',
  'b.a.test',
  '*.a.test',
  'x.b.a.test',
  '*.b.a.test',
  'c.test',
  '*.c.test',
);

/** Keys that look inside, all of them valid. */
const inside = maybe({
  tls: fc.constant('inspect'),
  methods: fc.constantFrom(['GET'], ['GET', 'POST']),
  paths: fc.constantFrom(['/v1/**'], ['/v1/*', '/v1/a'], ['/**']),
  requests: fc.constantFrom(
    [{ path: '/v1/a', query: { q: 'any' } }],
    [{ rpc: 'p.S/*' }],
    [{ headers: { x: 'y' } }],
  ),
  refuse: fc.constantFrom([], [{ path: '/v1/a' }], [{ path: '/v1/**' }, { query: { u: 'any' } }]),
  preset: fc.constantFrom('llm-api', 'git-read'),
  mode: fc.constantFrom('enforce', 'observe'),
  http2: fc.constant(true),
  websocket: fc.constantFrom('deny', 'allow', 'inspect'),
  encodedSlash: fc.constantFrom('deny', 'allow'),
  requestHeaders: fc.constantFrom(['accept'], ['accept', 'x-a']),
  setHeaders: fc.constantFrom({ 'x-a': 'b' }, {}),
  json: fc.constantFrom([{ path: '$.a' }], [{ path: '$.a', equals: 'x' }]),
  mcp: fc.constantFrom({}, { tools: ['a'] }, { tools: ['a*'] }),
  graphql: fc.constantFrom({}, { types: ['query', 'mutation'] }),
  dlp: fc.boolean(),
  limits: fc.constantFrom({ body: '1KiB' }, { requestsPerMinute: 5 }),
});

const rule = fc.oneof(
  host,
  fc
    .record({ host: publicHost, ports: fc.constantFrom([443], [443, 8443]) })
    .chain((place) => inside.map((keys) => ({ ...place, ...keys }))),
  fc.constantFrom({ host: 'a.test', credential: 'k' }, { host: 'a.test', credentials: ['k', 'l'] }),
  maybe({
    host,
    ports: some(fc.constantFrom(22, 80, 443, 8443)),
    protocol: fc.constantFrom('https', 'http', 'tcp'),
    private: fc.oneof(
      fc.boolean(),
      fc.constantFrom(['10.2.0.0/16'], ['fd12::/32', '10.0.0.0/8'], ['10.2.0.1/16'], []),
    ),
    allowNoSni: fc.boolean(),
    tls: fc.constantFrom('inspect', 'passthrough'),
    methods: some(fc.constantFrom('GET', 'POST')),
  }),
  fc
    .record({ host, ports: some(fc.constantFrom(443, 8443)) })
    .chain((place) =>
      inside.map((keys) => ({ ...place, ports: place.ports.length === 0 ? [443] : place.ports, ...keys })),
    ),
  maybe({
    host,
    budget: maybe({ requests: fc.constantFrom(1, 5, 'unlimited'), upload: size }),
  }),
);

const CREDENTIALS = {
  k: { from: 'env:K', bearer: true, hosts: ['a.test'] },
  l: { from: 'store:l', header: 'x-l', hosts: ['a.test'] },
};

/** Policies as they could be written: mostly valid, all parts of the language that allow something. */
const document = maybe({
  extends: some(fc.constantFrom('profile:node', 'profile:claude-code', 'profile:empty', 'profile:default')),
  tier: fc.constantFrom('process', 'container', 'vm', 'vm+gvisor', 'auto'),
  filesystem: maybe({
    workspace: fc.constantFrom('.', { writable: false }, { writable: true }),
    mode: fc.constantFrom('direct', 'review'),
    read: some(somePath),
    write: some(somePath),
    deny: some(somePath),
    protect: some(somePath),
    tmp: size,
  }),
  network: maybe({
    allow: some(rule),
    deny: some(host),
    budget: maybe({ requests: fc.constantFrom(1, 9, 'unlimited'), download: size }),
    mode: fc.constantFrom('deny', 'names', 'all'),
    overBudget: fc.constantFrom('refuse', 'pause'),
    dlp: fc.oneof(
      fc.boolean(),
      maybe({
        action: fc.constantFrom('deny', 'observe'),
        decodeDepth: fc.nat({ max: 4 }),
        maxInspect: fc.constantFrom('64KiB', '1MiB'),
        uninspectable: fc.constantFrom('deny', 'allow'),
        everywhere: fc.boolean(),
      }),
    ),
    ask: fc.constantFrom(true, false, { timeout: '5s' }, { pending: 9 }),
    parentProxy: fc.constantFrom('http://p.test:1', 'http://q.test:1'),
  }),
  process: maybe({
    env: some(fc.oneof(fc.constantFrom('LANG', 'TOKEN', 'LD_PRELOAD'), fc.constant({ set: { A: 'b' } }))),
    seccomp: fc.constantFrom('default', 'strict', 'debug'),
    nesting: fc.boolean(),
  }),
  limits: maybe({
    cpu: fc.constantFrom(0.5, 8, 'unlimited'),
    memory: size,
    pids: fc.constantFrom(5, 5000, 'unlimited'),
    timeout: fc.constantFrom('5s', '5h', 'unlimited'),
    require: some(fc.constantFrom('memory', 'pids')),
  }),
  monitor: fc.constant({ x: 1 }),
}).map((doc) => JSON.stringify({ version: 1, ...doc, credentials: CREDENTIALS }));

const grant = fc.oneof(
  publicHost,
  fc.record({
    host: publicHost,
    ports: fc.constantFrom([443], [443, 8443], [22]),
    protocol: fc.constantFrom('https', 'tcp'),
    private: fc.boolean(),
  }),
);
const tree = fc.constantFrom('/opt', '/opt/a', '/opt/a/b', '/srv', '/optional');
const drivers = {
  tier: fc.constantFrom('process', 'container'),
  driver: fc.constantFrom(undefined, 'gvisor', 'docker', 'podman', 'qemu', 'firecracker'),
};
/** All that the organisation bounds, in few values, so that many requests meet their bound. */
const ceiling = fc
  .record({
    allow: fc.array(grant, { minLength: 2, maxLength: 6 }),
    write: fc.array(tree, { maxLength: 3 }),
    memory: size,
    nesting: fc.boolean(),
    ...drivers,
  })
  .map(policyText);
const request = fc
  .record({
    allow: fc.array(grant, { maxLength: 2 }),
    write: fc.array(tree, { maxLength: 1 }),
    memory: size,
    nesting: fc.boolean(),
    ...drivers,
  })
  .map(policyText);

type PolicyParts = Readonly<Record<'allow' | 'write' | 'memory' | 'nesting' | 'tier' | 'driver', unknown>>;

function policyText({ allow, write, memory, nesting, tier, driver }: PolicyParts): string {
  return JSON.stringify({
    version: 1,
    tier,
    driver,
    network: { allow },
    filesystem: { write },
    limits: { memory },
    process: { nesting },
  });
}

/** Long enough to find most mistakes, short enough for every run; the fuzz targets run for longer. */
const RUNS = 200;

describe('hostile policies', () => {
  it('random bytes fail in one way only', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        orGloveboxError(() => checkDocument(parsePolicyFile('p.yaml', bytes)));
        orGloveboxError(() => importSrt('s.json', bytes, { partial: true }));
      }),
      { numRuns: 1000 },
    );
  });

  it('random YAML fails in one way only', () => {
    const token = fc.constantFrom(
      'version',
      ': ',
      '1',
      '\n',
      '  ',
      '- ',
      '{',
      '}',
      '[',
      ']',
      ',',
      '&a ',
      '*a',
      '<<',
      '"',
      "'",
      '|',
      '>',
      '!t',
      '#',
      '---\n',
      '? ',
      '~',
      'network',
      'allow',
      'x.test',
      '\t',
      '%YAML 1.1\n',
      '\u{1f600}',
      '\u2028',
    );
    fc.assert(
      fc.property(fc.array(token, { maxLength: 60 }), (tokens) => {
        orGloveboxError(() => checkDocument(parsePolicyFile('p.yaml', Buffer.from(tokens.join('')))));
      }),
      { numRuns: 1500 },
    );
  });

  it('random JSON values fail in one way only', () => {
    fc.assert(
      fc.property(fc.json(), document, (json, doc) => {
        importEgress(JSON.parse(json));
        importEgress({
          rules: [{ host: 'a.test', ...Object(JSON.parse(json)) }],
          credentials: JSON.parse(json),
        });
        for (const text of [json, `{"version":1,"network":${json}}`, doc])
          orGloveboxError(() => checkDocument(parsePolicyFile('p.json', Buffer.from(text))));
        orGloveboxError(() =>
          importSrt('s.json', Buffer.from(`{"network":${json},"filesystem":${json}}`), { partial: true }),
        );
      }),
      { numRuns: RUNS },
    );
  });

  it('a project policy without accepted widenings never widens', () => {
    using fixture = new PolicyFixture();
    let judged = 0;
    fc.assert(
      fc.property(document, document, (user, project) => {
        fixture.user(user);
        fixture.project(project);
        const without = orGloveboxError(() => resolveInFull(fixture.context, {}, 'none'));
        const file = findProjectFile(fixture.workspace)?.file;
        if (without === undefined || file === undefined) return;
        writeTrust(fixture.context.stateDir, {
          path: file.path,
          sha256: file.sha256,
          accepted: [],
          time: '',
        });
        const tight = orGloveboxError(() => resolvePolicy(fixture.context, {}));
        if (tight === undefined) return;
        judged++;
        expect(
          diffPolicies(without.resolved.policy, tight.policy).filter((found) => found.effect === 'widening'),
        ).toEqual([]);
      }),
      { numRuns: RUNS },
    );
    expect(judged).toBeGreaterThan(RUNS / 20);
  });

  it('nothing passes the organisation', () => {
    using fixture = new PolicyFixture();
    let judged = 0;
    fc.assert(
      fc.property(ceiling, request, (organisation, user) => {
        fixture.organisation(`{"version":1}`);
        fixture.user(organisation);
        const most = resolvePolicy(fixture.context, {}).policy;
        fixture.organisation(organisation);
        fixture.user(user);
        const found = orGloveboxError(() => resolvePolicy(fixture.context, {}))?.policy;
        if (found === undefined) return;
        judged++;
        expect(
          found.network.allow.filter((entry) => coverGap(most.network.allow, entry) !== undefined),
        ).toEqual([]);
        expect(found.filesystem.write.filter((entry) => !inTrees(entry.path, most.filesystem.write))).toEqual(
          [],
        );
        expect(found.limits.memoryBytes ?? Infinity).toBeLessThanOrEqual(most.limits.memoryBytes ?? Infinity);
        expect(most.process.nesting || !found.process.nesting).toBe(true);
        const bound = most.driver ?? (most.tier === 'container' ? 'gvisor' : found.driver);
        expect([bound, 'gvisor', 'qemu']).toContain(found.driver);
      }),
      { numRuns: RUNS },
    );
    expect(judged).toBeGreaterThan(RUNS / 20);
  });
});
