import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { localName } from '../../images/names.ts';
import { buildImage } from '../../images/recipe/build.ts';
import { SandboxRecipeRunner } from '../../sandbox/bake.ts';
import type { CliIo } from '../contract.ts';
import { parseWords } from './args.ts';
import { makeImage, withImages } from './context.ts';

export async function buildVerb(args: readonly string[], io: CliIo): Promise<number> {
  const options = parseWords(args, { '-f': 'once', '-t': 'once', '--allow': 'many', '--profile': 'many' });
  const { words } = options;
  const [recipe, wanted] = [options.one('-f'), options.one('-t')];
  if (recipe === undefined || wanted === undefined || words.length > 1)
    throw new GloveboxError('E_USAGE', {
      what: 'a build needs a recipe, a name and a context',
      next: 'Use: glovebox image build -f RECIPE -t NAME CONTEXT',
    });
  const name = localName(wanted);
  const layer = { allow: options.all('--allow'), profiles: options.all('--profile') };
  const aborting = new AbortController();
  const abort = (): void => aborting.abort();
  // A build that is told to end takes down what it made so far.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, abort);
  return withImages(io, (context) =>
    makeImage(context, { action: 'build', name }, () =>
      buildImage({
        store: context.store,
        recipe: path.resolve(io.cwd, recipe),
        context: path.resolve(io.cwd, words[0] ?? '.'),
        name,
        runner: new SandboxRecipeRunner({ env: io.env, layer, signal: aborting.signal }),
        signal: aborting.signal,
        output: (chunk) => void io.stderr.write(chunk),
        progress: context.progress,
      }),
    ),
  );
}
