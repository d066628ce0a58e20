import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { BoxResult, TestBox } from './box.ts';

/** Builds the image `made` from a recipe and the directory `context` of a box's workspace. */
export function buildRecipe(box: TestBox, recipe: string, flags: readonly string[] = []): Promise<BoxResult> {
  writeFileSync(path.join(box.workspace, 'Recipe'), recipe);
  return box.cli(['image', 'build', '-f', 'Recipe', '-t', 'made', ...flags, 'context']);
}
