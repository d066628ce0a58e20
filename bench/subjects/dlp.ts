import { createHash, randomBytes } from 'node:crypto';
import type { ContentScanner } from '../../src/content/contract.ts';
import { createScanner } from '../../src/content/dlp/scanner.ts';
import type { InlineScanner, ScannerOptions } from '../../src/content/dlp/scanner.ts';
import { createThreadedScanner, ScanThread } from '../../src/content/dlp/threaded.ts';
import type { Subject } from '../lib/context.ts';
import type { Series } from '../lib/result.ts';
import { find, interleave, type Arm, type Rounds } from '../lib/rounds.ts';
import { against } from '../lib/stats.ts';

const ROUNDS = 9;
/** One sample takes this many passes, so that the clock's grain does not show. */
const PASSES = 8;
const HEADS = 2000;
const MIB = 1024 * 1024;
const SECRETS = 10;

/** What the scanner costs on traffic that holds nothing: MiB a second of bodies, heads a second. */
export const dlp: Subject = {
  name: 'dlp',
  summary: 'scanning clean bodies and request heads for secrets',
  run: async ({ rounds, budgetMs }) => {
    const options = { rounds: rounds(ROUNDS), warmups: 2, budgetMs };
    const scanner = cleanScanner();
    const bodies = await interleave({ arms: bodyArms(scanner), metrics: { '': 'MiB/s' }, ...options });
    const heads = await interleave({ arms: [headArm(scanner)], metrics: { '': '1/s' }, ...options });
    const pauses = await largeBodies({ rounds: rounds(ROUNDS), warmups: 1, budgetMs });
    const target = { at: 'least', value: 100 } as const;
    return {
      series: [...bodies, ...heads, ...pauses],
      comparisons: against(find(bodies, 'JSON'), target),
      skips: [],
    };
  },
};

/** The largest body that is looked into: how long it takes, and how long nothing else moves meanwhile. */
async function largeBodies(options: Omit<Rounds, 'arms' | 'metrics'>): Promise<readonly Series[]> {
  const thread = new ScanThread();
  const body = Buffer.concat(Array<Buffer>(10).fill(jsonText(false)));
  const arm = (name: string, scanner: ContentScanner): Arm => ({
    name: `10 MiB of JSON, ${name}`,
    command: `scanner.body(10 MiB of JSON), ${name}`,
    sample: async () => {
      const pause = watchPauses();
      const started = performance.now();
      mustBeClean(await scanner.body(body, []));
      const whole = performance.now() - started;
      return { whole, 'longest pause': await pause() };
    },
  });
  try {
    const arms = [
      arm('on the spot', cleanScanner()),
      arm('in the thread', createThreadedScanner(cleanOptions(), thread)),
    ];
    return await interleave({ arms, metrics: { whole: 'ms', 'longest pause': 'ms' }, ...options });
  } finally {
    await thread.close();
  }
}

/** Answers the longest time between two turns of the event loop since, in milliseconds. */
function watchPauses(): () => Promise<number> {
  let last = performance.now();
  let longest = 0;
  const look = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  };
  const timer = setInterval(look, 1);
  return () =>
    new Promise((resolve) => {
      setImmediate(() => {
        look();
        clearInterval(timer);
        resolve(longest);
      });
    });
}

const cleanScanner = (): InlineScanner => createScanner(cleanOptions());

function cleanOptions(): ScannerOptions {
  const secrets = Array.from({ length: SECRETS }, (_, i) => ({ name: `s${i}`, bytes: randomBytes(40) }));
  return {
    policy: {
      action: 'deny',
      patterns: true,
      custom: [],
      canaries: ['canary-9f27c1d0'],
      decodeDepth: 2,
      maxInspectBytes: 10 * MIB,
      uninspectable: 'deny',
      names: true,
      everywhere: true,
    },
    secrets: () => secrets,
  };
}

function bodyArms(scanner: InlineScanner): Arm[] {
  const random = seeded(MIB);
  return [
    bodyArm(scanner, 'JSON', jsonText(false)),
    bodyArm(scanner, 'JSON with escapes', jsonText(true)),
    bodyArm(scanner, 'binary', random),
    bodyArm(scanner, 'base64', Buffer.from(random.toString('base64'))),
  ];
}

function bodyArm(scanner: InlineScanner, name: string, body: Buffer): Arm {
  const sample = () => {
    const started = performance.now();
    for (let i = 0; i < PASSES; i++) mustBeClean(scanner.body(body, []));
    const seconds = (performance.now() - started) / 1000;
    return Promise.resolve({ '': (PASSES * body.length) / MIB / seconds });
  };
  return { name, command: `scanner.body(1 MiB of ${name})`, sample };
}

function headArm(scanner: InlineScanner): Arm {
  const headers = [
    ...['Host', 'api.example.com', 'User-Agent', 'client/1.4.2 node/20', 'Accept', '*/*'],
    ...[
      'Content-Type',
      'application/json',
      'Accept-Encoding',
      'gzip, br',
      'X-Request-Id',
      seeded(16).toString('hex'),
    ],
    ...[
      'Cookie',
      `id=${seeded(300).toString('base64url')}`,
      'Traceparent',
      `00-${seeded(24).toString('hex')}-01`,
    ],
    ...['X-Note', 'some words of an ordinary header '.repeat(10)],
  ];
  const sample = () => {
    const started = performance.now();
    for (let i = 0; i < HEADS; i++) mustBeClean(scanner.head({ target: `/v1/messages?page=${i}`, headers }));
    return Promise.resolve({ '': HEADS / ((performance.now() - started) / 1000) });
  };
  return { name: '1 KiB head', command: 'scanner.head(a request of about 1 KiB)', sample };
}

function mustBeClean(finding: { readonly kind: string } | undefined): void {
  if (finding !== undefined) throw new Error(`clean traffic was taken for ${finding.kind}`);
}

/** A megabyte of messages, as clients of models send them. */
function jsonText(escapes: boolean): Buffer {
  const line = escapes
    ? 'if (x > 1) {\n\treturn "a" + `b`;\n}\n'
    : 'a few ordinary words of a conversation, and more; ';
  const messages: object[] = [];
  for (let bytes = 0, i = 0; bytes < MIB; bytes += 400, i++)
    messages.push({ role: 'user', index: i, content: line.repeat(8) });
  return Buffer.from(JSON.stringify({ messages })).subarray(0, MIB);
}

/** The same bytes in every run, without any order in them. */
function seeded(length: number): Buffer {
  const blocks = Array.from({ length: Math.ceil(length / 32) }, (_, i) =>
    createHash('sha256').update(String(i)).digest(),
  );
  return Buffer.concat(blocks).subarray(0, length);
}
