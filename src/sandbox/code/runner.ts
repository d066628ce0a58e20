import { GloveboxError } from '../../base/errors.ts';
import { insidePath } from '../inside.ts';
import { CODE_CAPS } from './caps.ts';
import { LiveContext } from './context.ts';
import type { CodeContext, CodeContextOptions, CodeLanguage, Execution, RunCodeOptions } from './contract.ts';
import type { StartKernel } from './kernel.ts';
import { KERNELS } from './kernels.ts';

export interface CodeRunnerInput {
  readonly start: StartKernel;
  /** Directory of contexts that name none. */
  readonly cwd: string;
  /** Bytes that one cell may write and show. */
  readonly outputBytes: number | undefined;
}

/** The code contexts of one sandbox. */
export class CodeRunner {
  readonly #input: CodeRunnerInput;
  readonly #contexts = new Map<string, LiveContext>();
  readonly #defaults = new Map<CodeLanguage, LiveContext>();

  constructor(input: CodeRunnerInput) {
    this.#input = input;
  }

  async run(code: string, options: RunCodeOptions): Promise<Execution> {
    return this.#contextFor(options).run(code, options);
  }

  /** Starts the interpreter of calls that name no context, ahead of the first. */
  async warm(language: CodeLanguage): Promise<void> {
    await this.#defaultOf(language, {}).warm();
  }

  async create(options: CodeContextOptions): Promise<CodeContext> {
    const context = this.#add(options);
    try {
      await context.warm();
      return context;
    } catch (error) {
      this.#contexts.delete(context.id);
      throw error;
    }
  }

  list(): readonly CodeContext[] {
    return [...this.#contexts.values()].map(({ id, language, cwd }) => ({ id, language, cwd }));
  }

  interrupt(context: CodeContext | string): void {
    this.#find(context).interrupt();
  }

  async restart(context: CodeContext | string): Promise<void> {
    await this.#find(context).restart();
  }

  async remove(context: CodeContext | string): Promise<void> {
    const live = this.#find(context);
    this.#contexts.delete(live.id);
    if (this.#defaults.get(live.language) === live) this.#defaults.delete(live.language);
    await live.remove();
  }

  #contextFor(options: RunCodeOptions): LiveContext {
    if (options.context !== undefined) {
      if (options.language !== undefined) {
        throw new GloveboxError('E_USAGE', { what: 'a context has its language: name one or the other' });
      }
      return this.#find(options.context);
    }
    return this.#defaultOf(options.language ?? 'python', options);
  }

  #defaultOf(language: CodeLanguage, { envs }: Pick<RunCodeOptions, 'envs'>): LiveContext {
    const known = this.#defaults.get(language);
    if (known !== undefined) return known;
    const context = this.#add({ language, ...(envs === undefined ? {} : { envs }) });
    this.#defaults.set(language, context);
    return context;
  }

  #add(options: CodeContextOptions): LiveContext {
    if (this.#contexts.size >= CODE_CAPS.contexts) {
      throw new GloveboxError('E_LIMIT_EXCEEDED', {
        what: `the sandbox has ${CODE_CAPS.contexts} code contexts`,
        next: 'Remove one with `removeCodeContext`.',
      });
    }
    const { language = 'python' } = options;
    if (!Object.hasOwn(KERNELS, language))
      throw new GloveboxError('E_USAGE', {
        what: `there is no language ${JSON.stringify(language)}`,
        next: `Use one of ${Object.keys(KERNELS).join(', ')}.`,
      });
    const { start, outputBytes } = this.#input;
    const output = outputBytes === undefined ? {} : { outputBytes };
    const context = new LiveContext({
      language,
      cwd:
        options.cwd === undefined
          ? this.#input.cwd
          : insidePath(options.cwd, this.#input.cwd, 'E_CWD_INVALID'),
      envs: options.envs ?? {},
      start,
      onBackground: options.onBackground,
      ...output,
    });
    this.#contexts.set(context.id, context);
    return context;
  }

  #find(context: CodeContext | string): LiveContext {
    const id = typeof context === 'string' ? context : context.id;
    const live = this.#contexts.get(id);
    if (live !== undefined) return live;
    throw new GloveboxError('E_USAGE', { what: `there is no code context ${id}` });
  }
}
