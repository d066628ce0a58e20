import { execFile, spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it, test } from 'vitest';
import { needsProgram, PYTHON } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { expectNothingLeft } from '../support/tree.ts';

const EXAMPLES = path.resolve(import.meta.dirname, '../../examples');

interface Example {
  /** What it has to show. */
  readonly shows: readonly RegExp[];
  /** It takes the tier as its first argument. */
  readonly tiers?: boolean;
  /** A module of Python that it plots with. */
  readonly module?: string;
}

/** A new one without a row here fails. */
const TABLE: Readonly<Record<string, Example>> = {
  'code-interpreter.mjs': {
    tiers: true,
    shows: [
      /NameError: name 'sale' is not defined/,
      /\{'north': 16, 'south': 15\}/,
      /answer: North sold 16.*did not work: urllib\.error\.URLError/,
    ],
  },
  'grader.mjs': {
    tiers: true,
    shows: [
      /^0 +right +ok +yes/m,
      /^2 +wrong +ok +no/m,
      /^3 +does not parse +error +no/m,
      /^4 +never ends +timeout +no/m,
      /^5 +takes all memory +memory-limit +no/m,
      /^46 +forks +(?:process|memory)-limit +no/m,
      /^47 +calls home +network-denied +no/m,
      /^48 +reads secrets +file-denied +no/m,
      /^49 +kills itself +crashed +no/m,
      /^10 of 50 passed$/m,
    ],
  },
  'pinned-api.mjs': {
    shows: [
      /sk-ant-api03-… \(\d+ characters\)/,
      /the API saw POST \/v1\/messages with the real key/,
      /"rule":"structural\.pin\.foreign"/,
      /refuses the path/,
    ],
  },
  'plot.mjs': {
    tiers: true,
    module: 'matplotlib',
    shows: [/a PNG of \d{4,} bytes, \d{3} x \d{3}/, /line "Squares" .*"points":\[\[1,1\],\[2,4\]/],
  },
  'terminal.mjs': {
    tiers: true,
    shows: [/30 100/, /40 120/, /six times seven is 42/, /KeyboardInterrupt/, /the shell ended with 3/],
  },
};

test('every example is tried here', () => {
  expect(readdirSync(EXAMPLES).filter((name) => name.endsWith('.mjs'))).toEqual(Object.keys(TABLE));
});

describe.each(Object.entries(TABLE))('%s', (name, { shows, tiers, module }) => {
  const ways = tiers === true ? ['process', 'container'] : [undefined];
  for (const tier of ways) {
    const lack = tier === 'container' ? needsProgram('runsc') : undefined;
    const lacksModule = module !== undefined && spawnSync(PYTHON, ['-c', `import ${module}`]).status !== 0;
    const missing = lack ?? (lacksModule ? `python3-${module} is not installed` : undefined);
    const title = `runs${tier === undefined ? '' : ` in the ${tier} tier`}`;
    if (missing !== undefined) it.skip(`${title} (skipped: ${missing})`, () => undefined);
    else it(title, () => tryExample(name, tier, shows), 300_000);
  }
});

async function tryExample(name: string, tier: string | undefined, shows: readonly RegExp[]): Promise<void> {
  using box = new TestBox();
  const words = [path.join(EXAMPLES, name), ...(tier === undefined ? [] : [tier])];
  const { stdout } = await promisify(execFile)(process.execPath, words, {
    env: box.env(),
    cwd: box.workspace,
  });
  for (const shown of shows) expect(stdout).toMatch(shown);
  expect(stdout).not.toContain('the-real-key-stays-outside');
  await expectNothingLeft(box);
}
