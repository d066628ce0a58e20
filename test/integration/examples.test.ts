import { execFile, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, test } from 'vitest';
import { lendMachines, PYTHON, tierNeeds } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import type { OwnTier } from '../support/sdk.ts';
import { expectNothingLeft } from '../support/tree.ts';

const EXAMPLES = path.resolve(import.meta.dirname, '../../examples');

interface Example {
  /** What it has to show. */
  readonly shows: readonly RegExp[];
  /** Each takes one as its first argument. */
  readonly tiers: readonly OwnTier[];
  /** A module of Python that it plots with. */
  readonly module?: string;
  /** Where each sandbox takes longer: words behind the tier, and what it shows then. */
  readonly fewer?: Readonly<
    Partial<Record<OwnTier, readonly [words: readonly string[], shows: readonly RegExp[]]>>
  >;
}

/** A machine is the process tier on a kernel of its own; that gVisor runs there too, two of them show. */
const EVERY: readonly OwnTier[] = ['process', 'container', 'vm', 'vm+gvisor'];
const PATIENCE_MS = 300_000;

/** The grader's first round of submissions. */
const GRADES = [
  /^0 +right +ok +yes/m,
  /^2 +wrong +ok +no/m,
  /^3 +does not parse +error +no/m,
  /^4 +never ends +timeout +no/m,
  /^5 +takes all memory +memory-limit +no/m,
  /^7 +calls home +network-denied +no/m,
  /^8 +reads secrets +file-denied +no/m,
  /^9 +kills itself +crashed +no/m,
];

/** A new one without a row here fails. */
const TABLE: Readonly<Record<string, Example>> = {
  'code-interpreter.mjs': {
    tiers: EVERY,
    shows: [
      /NameError: name 'sale' is not defined/,
      /\{'north': 16, 'south': 15\}/,
      /answer: North sold 16.*did not work: urllib\.error\.URLError/,
    ],
  },
  'grader.mjs': {
    tiers: ['process', 'container', 'vm'],
    shows: [...GRADES, /^46 +forks +(?:process|memory)-limit +no/m, /^10 of 50 passed$/m],
    fewer: {
      container: [['10'], [...GRADES, /^6 +forks +(?:process|memory)-limit +no/m, /^2 of 10 passed$/m]],
      vm: [['4'], [...GRADES.slice(0, 3), /^2 of 4 passed$/m]],
    },
  },
  'pinned-api.mjs': {
    tiers: ['process', 'vm'],
    shows: [
      /sk-ant-api03-… \(\d+ characters\)/,
      /the API saw POST \/v1\/messages with the real key/,
      /"rule":"structural\.pin\.foreign"/,
      /refuses the path/,
    ],
  },
  'plot.mjs': {
    tiers: ['process', 'container'],
    module: 'matplotlib',
    shows: [/a PNG of \d{4,} bytes, \d{3} x \d{3}/, /line "Squares" .*"points":\[\[1,1\],\[2,4\]/],
  },
  'terminal.mjs': {
    tiers: EVERY,
    shows: [/30 100/, /40 120/, /six times seven is 42/, /KeyboardInterrupt/, /the shell ended with 3/],
  },
};

test('every example is tried here', () => {
  expect(readdirSync(EXAMPLES).filter((name) => name.endsWith('.mjs'))).toEqual(Object.keys(TABLE));
});

describe.each(Object.entries(TABLE))('%s', (name, example) => {
  for (const tier of example.tiers) {
    const missing = tierNeeds(tier) ?? lacks(example);
    const title = `runs in the ${tier} tier`;
    if (missing !== undefined) it.skip(`${title} (skipped: ${missing})`, () => undefined);
    else it(title, () => tryExample(name, tier, example), PATIENCE_MS);
  }
});

function lacks({ module }: Example): string | undefined {
  if (module === undefined || spawnSync(PYTHON, ['-c', `import ${module}`]).status === 0) return undefined;
  return `python3-${module} is not installed`;
}

async function tryExample(name: string, tier: OwnTier, example: Example): Promise<void> {
  using box = new TestBox();
  if (tier === 'vm' || tier === 'vm+gvisor') lendMachines(box);
  const [words, shows] = example.fewer?.[tier] ?? [[], example.shows];
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [path.join(EXAMPLES, name), tier, ...words],
    // One that has a home of its own finds what machines boot all the same.
    {
      env: box.env({ XDG_CACHE_HOME: path.join(box.home, '.cache') }),
      cwd: box.workspace,
      timeout: PATIENCE_MS * 0.9,
    },
  );
  for (const shown of shows) expect(stdout).toMatch(shown);
  expect(stdout).not.toContain('the-real-key-stays-outside');
  await expectNothingLeft(box);
}
