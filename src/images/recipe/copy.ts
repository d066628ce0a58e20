import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { SourcePosition } from '../../base/errors.ts';
import { fsPath, pathFromBytes } from '../../base/path-bytes.ts';
import { copyEntry } from '../copy-tree.ts';
import { partsOf, resolveIn, statOf } from '../tree.ts';
import { UnpackBudget, type UnpackBounds } from '../unpack/budget.ts';
import { recipeError } from './parse.ts';

export interface CopyInput {
  /** Absolute and real: nothing outside of it is read. */
  readonly context: string;
  /** The image that is made. */
  readonly root: string;
  readonly workingDir: string;
  /** What this COPY may still add. */
  readonly bounds: UnpackBounds;
}

interface Copying extends CopyInput {
  readonly budget: UnpackBudget;
}

/** Does one COPY. @throws E_IMAGE_RECIPE, E_IMAGE_TOO_LARGE */
export async function copyIntoImage(
  facts: CopyInput,
  step: { readonly from: readonly string[]; readonly to: string; readonly at: SourcePosition },
): Promise<void> {
  const input = { ...facts, budget: new UnpackBudget(facts.bounds) };
  const target = path.posix.resolve(input.workingDir, step.to);
  const into = step.to.endsWith('/') || isDir(input.root, target);
  for (const name of step.from) {
    const source = sourceIn(input.context, name, step.at);
    if (statOf(source)?.isDirectory() === true) await mergeDir(source, madeDir(input.root, target), input);
    else await copyOne(source, into ? path.posix.join(target, path.basename(source)) : target, input);
  }
}

/** A path of the context, of which no part is a symlink that leads on. */
function sourceIn(context: string, name: string, at: SourcePosition): string {
  const parts = path.posix
    .normalize(name)
    .replace(/^\/+/, '')
    .split('/')
    .filter((part) => part !== '' && part !== '.');
  if (parts[0] === '..') throw recipeError(at, `${name} lies outside of the context`);
  let source = context;
  for (const [i, part] of parts.entries()) {
    source = `${source}/${part}`;
    const stat = statOf(source);
    if (stat === undefined)
      throw recipeError(
        at,
        `there is no ${name} in the context${/[*?[]/.test(name) ? '; patterns are not expanded' : ''}`,
      );
    if (stat.isSymbolicLink() && i < parts.length - 1)
      throw recipeError(at, `${name} leads through a symlink, which is not followed`);
  }
  return source;
}

function isDir(root: string, inside: string): boolean {
  const real = resolveIn(root, partsOf(inside), { follow: true, missing: 'undefined' });
  return real !== undefined && statOf(real)?.isDirectory() === true;
}

/** The real directory of the image for a path in it, made where it is missing. */
export function madeDir(root: string, inside: string): string {
  const real = resolveIn(root, partsOf(inside), { follow: true, missing: 'keep' }) ?? root;
  mkdirSync(fsPath(real), { recursive: true, mode: 0o755 });
  return real;
}

async function copyOne(source: string, inside: string, input: Copying): Promise<void> {
  const dir = madeDir(input.root, path.posix.dirname(inside));
  const target = `${dir}/${path.posix.basename(inside)}`;
  rmSync(fsPath(target), { recursive: true, force: true });
  await copyEntry(source, target, input.budget);
}

/** The content of a directory; what is in the image beside it stays. */
async function mergeDir(source: string, target: string, input: Copying): Promise<void> {
  for (const bytes of readdirSync(fsPath(source), { encoding: 'buffer' })) {
    const name = pathFromBytes(bytes);
    const [from, to] = [`${source}/${name}`, `${target}/${name}`];
    const inside = to.slice(input.root.length);
    if (statOf(from)?.isDirectory() === true && isDir(input.root, inside)) {
      await mergeDir(from, madeDir(input.root, inside), input);
      continue;
    }
    rmSync(fsPath(to), { recursive: true, force: true });
    await copyEntry(from, to, input.budget);
  }
}
