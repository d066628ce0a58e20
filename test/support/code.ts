import { afterAll, beforeAll, describe } from 'vitest';
import {
  Sandbox,
  type CodeContextOptions,
  type CodeLanguage,
  type Execution,
  type RunCodeOptions,
  type SandboxOptions,
} from '../../src/index.ts';
import { engineEnv, lendMachines, policyTier, tierNeeds, TIERS as ASKED, type AttackTier } from './attack.ts';
import { TestBox } from './box.ts';

/** Both that bring their own jail, whoever runs the tests; the vm tier where it was asked for, because it is slow without KVM. */
const TIERS: readonly AttackTier[] = ASKED.includes('vm') ? ['vm'] : ['process', 'container'];

/** One sandbox of a tier for a group of tests, each with contexts of its own. */
export class CodeBox {
  readonly tier: AttackTier;
  readonly #options: SandboxOptions;
  #box: TestBox | undefined;
  #sandbox: Sandbox | undefined;

  constructor(tier: AttackTier, options: SandboxOptions) {
    this.tier = tier;
    this.#options = options;
  }

  get box(): TestBox {
    if (this.#box === undefined) throw new Error('only inside a test');
    return this.#box;
  }

  get sandbox(): Sandbox {
    if (this.#sandbox === undefined) throw new Error('only inside a test');
    return this.#sandbox;
  }

  async open(): Promise<void> {
    this.#box = new TestBox();
    if (this.tier === 'vm') lendMachines(this.#box);
    const { workspace } = this.#box;
    this.#sandbox = await Sandbox.create({
      workspace,
      hostEnv: this.#box.env(engineEnv(this.tier)),
      tier: policyTier(this.tier),
      ...this.#options,
    });
  }

  async close(): Promise<void> {
    await this.#sandbox?.kill();
    this.#box?.[Symbol.dispose]();
  }

  /** Cells of a context of their own, one after another; what the last one answered. */
  async cells(
    language: CodeLanguage,
    codes: readonly string[],
    options: RunCodeOptions & Pick<CodeContextOptions, 'envs'> = {},
  ): Promise<Execution> {
    const all = await this.each(language, codes, options);
    const last = all.at(-1);
    if (last === undefined) throw new Error('no cell');
    return last;
  }

  async each(
    language: CodeLanguage,
    codes: readonly string[],
    { envs, ...options }: RunCodeOptions & Pick<CodeContextOptions, 'envs'> = {},
  ): Promise<readonly Execution[]> {
    const { sandbox } = this;
    const context = await sandbox.createCodeContext({ language, ...(envs === undefined ? {} : { envs }) });
    const all: Execution[] = [];
    try {
      for (const code of codes) all.push(await sandbox.runCode(code, { context, ...options }));
      return all;
    } finally {
      await sandbox.removeCodeContext(context);
    }
  }
}

/** The same tests in every tier; a tier that is not to be had here is skipped with what it lacks. */
export function describeTiers(
  name: string,
  body: (box: CodeBox) => void,
  options: SandboxOptions = {},
): void {
  for (const tier of TIERS) {
    const lack = tierNeeds(tier);
    const title = `[${tier}] ${name}`;
    if (lack !== undefined) {
      describe.skip(`${title} (skipped: ${lack})`, () => undefined);
      continue;
    }
    describe(title, () => {
      const box = new CodeBox(tier, options);
      beforeAll(() => box.open());
      afterAll(() => box.close());
      body(box);
    });
  }
}

export const text = (pieces: readonly string[]): string => pieces.join('');
