import { mkdirSync, readFileSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../../base/caps.ts';
import { GloveboxError, systemCode, type SourcePosition } from '../../base/errors.ts';
import { newId } from '../../base/ids.ts';
import { printablePath } from '../../base/path-bytes.ts';
import type { ImageRecord, OnProgress, RecipeRunner, StepEnd } from '../contract.ts';
import { copyTree } from '../copy-tree.ts';
import { sha256 } from '../digest.ts';
import { NO_CONFIG } from '../import.ts';
import type { Platform } from '../platform.ts';
import { keep, type UnpackedImage } from '../store/rootfs.ts';
import type { ImageStore } from '../store/store.ts';
import { openUp } from '../tree.ts';
import { UnpackBudget, type UnpackBounds } from '../unpack/budget.ts';
import { copyIntoImage, madeDir } from './copy.ts';
import { stepHint } from './hints.ts';
import { expand, parseRecipe, placeText, type Instruction } from './parse.ts';
import { BuildBudget } from './size.ts';

export interface BuildInput {
  readonly store: ImageStore;
  /** The recipe file; absolute. */
  readonly recipe: string;
  /** Directory that COPY reads from; absolute. */
  readonly context: string;
  readonly name: string;
  readonly runner: RecipeRunner;
  /** What RUN steps print. */
  readonly output: (chunk: Uint8Array) => void;
  readonly progress: OnProgress;
  /** What base system and steps may take together. Default: what one image may. */
  readonly bounds?: UnpackBounds;
  /** Ends the build between two steps; the runner ends a step. */
  readonly signal?: AbortSignal;
}

/** What the instructions so far have made of it. */
interface State {
  readonly env: Record<string, string>;
  workingDir: string;
  config: ImageRecord['config'];
  readonly platform?: Platform;
}

/**
 * Bakes an image by a recipe. Every step is done each time: there is no cache of steps.
 *
 * @throws E_IMAGE_RECIPE, E_IMAGE_BUILD when a RUN fails, E_IMAGE_TOO_LARGE, E_IMAGE_NOT_FOUND; nothing is left then
 */
export async function buildImage(input: BuildInput): Promise<ImageRecord> {
  const { store } = input;
  const [from, ...steps] = parseRecipe(readRecipe(input.recipe), input.recipe);
  if (from?.kind !== 'FROM') throw new GloveboxError('E_INTERNAL', { what: 'a recipe without FROM' });
  const context = contextDir(input.context);
  const release = await store.hold(newId('build'), { chains: [], blobs: [], all: true });
  try {
    return await store.layout.scratch(async (dir) => {
      const root = path.join(dir, 'work');
      const state = await startFrom(input, root, from);
      const budget = new BuildBudget(root, input.bounds);
      for (const [i, step] of steps.entries()) {
        refuseAborted(input.signal);
        input.progress(`step ${i + 1} of ${steps.length}: ${summary(step)}`);
        await atPlace(step, () => apply(input, step, { root, context, state, budget }));
      }
      refuseAborted(input.signal);
      return finish(input, dir, { root, state, from: from.name });
    });
  } finally {
    release();
  }
}

function refuseAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new GloveboxError('E_ABORTED', { what: 'the build was ended' });
}

function readRecipe(file: string): string {
  try {
    const bytes = readFileSync(file);
    if (bytes.length <= CAPS.recipeBytes) return bytes.toString('utf8');
  } catch (error) {
    throw new GloveboxError('E_IMAGE_RECIPE', {
      what: `cannot read ${printablePath(file)}`,
      why: systemCode(error) ?? 'unknown',
    });
  }
  throw new GloveboxError('E_IMAGE_RECIPE', { what: `${printablePath(file)} is too long for a recipe` });
}

function contextDir(dir: string): string {
  try {
    return realpathSync.native(dir);
  } catch (error) {
    throw new GloveboxError('E_USAGE', {
      what: `there is no context ${printablePath(dir)}`,
      why: systemCode(error) ?? 'unknown',
    });
  }
}

async function startFrom(
  input: BuildInput,
  root: string,
  from: Extract<Instruction, { kind: 'FROM' }>,
): Promise<State> {
  if (from.name === 'scratch') {
    mkdirSync(root, { mode: 0o755 });
    return { env: {}, workingDir: '/', config: NO_CONFIG };
  }
  const { root: base, config, platform } = findFrom(input.store, from);
  input.progress(`from ${from.name}`);
  await copyTree(base, root, new UnpackBudget(input.bounds));
  const pairs = config.env.map((line) => [line.split('=', 1)[0] ?? '', line.slice(line.indexOf('=') + 1)]);
  return {
    env: Object.fromEntries(pairs),
    workingDir: config.workingDir ?? '/',
    config,
    ...(platform === undefined ? {} : { platform }),
  };
}

function findFrom(store: ImageStore, from: { readonly name: string; readonly at: SourcePosition }) {
  try {
    return store.base(from.name);
  } catch (error) {
    if (!(error instanceof GloveboxError)) throw error;
    throw new GloveboxError(error.code, {
      what: `${placeText(from.at)}: ${error.what}`,
      next:
        error.code === 'E_IMAGE_NOT_FOUND'
          ? `${error.next} \`glovebox image pull ${from.name}\` fetches one.`
          : error.next,
    });
  }
}

/** An image that becomes too large does so at a place of the recipe. */
async function atPlace(step: Instruction, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof GloveboxError) || error.code !== 'E_IMAGE_TOO_LARGE') throw error;
    throw new GloveboxError(error.code, {
      what: `${placeText(step.at)}: ${error.what}`,
      ...(error.why === undefined ? {} : { why: error.why }),
      next: error.next,
      context: { position: step.at },
    });
  }
}

interface Place {
  readonly root: string;
  readonly context: string;
  readonly state: State;
  readonly budget: BuildBudget;
}

async function apply(input: BuildInput, step: Instruction, at: Place): Promise<void> {
  const { root, context, state } = at;
  switch (step.kind) {
    case 'FROM':
      return;
    case 'ENV':
      for (const [name, value] of step.values) state.env[name] = expand(value, state.env);
      return;
    case 'WORKDIR':
      state.workingDir = path.posix.resolve(state.workingDir, expand(step.path, state.env));
      madeDir(root, state.workingDir);
      return;
    case 'COPY': {
      const names = {
        from: step.from.map((name) => expand(name, state.env)),
        to: expand(step.to, state.env),
        at: step.at,
      };
      const { workingDir } = state;
      await copyIntoImage({ context, root, workingDir, bounds: await at.budget.left() }, names);
      return at.budget.check();
    }
    case 'RUN':
      return runStep(input, step, at);
  }
}

type RunInstruction = Extract<Instruction, { kind: 'RUN' }>;

/** Enough of what a step said last to tell why it failed. */
const LAST_WORDS = 16 * 1024;

async function runStep(input: BuildInput, step: RunInstruction, at: Place): Promise<void> {
  const { root, state, budget } = at;
  const { env, workingDir } = state;
  let said = '';
  const output = (chunk: Uint8Array): void => {
    said = `${said}${Buffer.from(chunk).toString('latin1')}`.slice(-LAST_WORDS);
    input.output(chunk);
  };
  const ended = await budget.during((signal) =>
    input.runner.run({ command: step.command, env, workingDir, root, signal }, output),
  );
  if (ended.exitCode !== 0) throw failed(step, ended, said);
  await budget.check();
}

function failed(step: RunInstruction, { exitCode, refused }: StepEnd, said: string): GloveboxError {
  const hint = stepHint(said, refused);
  return new GloveboxError('E_IMAGE_BUILD', {
    what: `${placeText(step.at)}: RUN ended with code ${exitCode}`,
    ...hint,
    context: { position: step.at, code: exitCode, refused },
  });
}

/** An instruction on one short line, for people. */
function summary(step: Instruction): string {
  return printablePath(`${step.kind} ${wordsOf(step).join(' ')}`.slice(0, 100));
}

function wordsOf(step: Instruction): readonly string[] {
  switch (step.kind) {
    case 'FROM':
      return [step.name];
    case 'RUN':
      return typeof step.command === 'string' ? [step.command] : step.command;
    case 'COPY':
      return [...step.from, step.to];
    case 'ENV':
      return step.values.map(([name]) => name);
    case 'WORKDIR':
      return [step.path];
  }
}

async function finish(
  input: BuildInput,
  dir: string,
  made: { readonly root: string; readonly state: State; readonly from: string },
): Promise<ImageRecord> {
  const { store, name } = input;
  mkdirSync(path.join(dir, 'image'), { mode: 0o700 });
  const budget = new UnpackBudget();
  openUp(made.root);
  // Copied once more: what steps left that has no place in an image is not taken along.
  const tree = await copyTree(made.root, path.join(dir, 'image/root'), budget);
  const unpacked: UnpackedImage = { chain: sha256(`tree ${tree}`), report: budget.report() };
  await keep(store.layout, dir, unpacked);
  const { env, workingDir, config, platform } = made.state;
  const record: ImageRecord = {
    ...unpacked,
    name,
    source: `${path.basename(input.recipe)} on ${made.from}`,
    blobs: [],
    config: { ...config, env: Object.entries(env).map(([key, value]) => `${key}=${value}`), workingDir },
    ...(platform === undefined ? {} : { platform }),
    createdAt: Date.now(),
  };
  await store.save(record);
  return record;
}
