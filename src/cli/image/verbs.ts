import path from 'node:path';
import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { printablePath } from '../../base/path-bytes.ts';
import { gloveboxDirs, homeDirectory } from '../../base/paths.ts';
import { importImage } from '../../images/import.ts';
import { localName, nameOfReference, parseReference } from '../../images/names.ts';
import { parsePlatform } from '../../images/platform.ts';
import { recorded } from '../../images/recorded.ts';
import { engineLogin } from '../../images/registry/auth.ts';
import { proxyFromEnvironment } from '../../images/registry/proxy.ts';
import { pullImage } from '../../images/registry/pull.ts';
import { MachineCache, machineCacheDir } from '../../machine/cache/cache.ts';
import type { CliIo } from '../contract.ts';
import { parseWords } from './args.ts';
import { makeImage, megabytes, withImages } from './context.ts';

export async function importVerb(args: readonly string[], io: CliIo): Promise<number> {
  const options = parseWords(args, { '--tag': 'once', '--platform': 'once' });
  const [from, wanted] = exactly(options.words, 2, 'glovebox image import PATH|- NAME');
  const name = localName(wanted);
  const tag = options.one('--tag');
  const platform = options.one('--platform');
  return withImages(io, (context) =>
    makeImage(context, { action: 'import', name }, () =>
      importImage({
        store: context.store,
        from: from === '-' ? io.stdin : path.resolve(io.cwd, from),
        name,
        progress: context.progress,
        ...(tag === undefined ? {} : { tag }),
        ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
      }),
    ),
  );
}

export async function pullVerb(args: readonly string[], io: CliIo): Promise<number> {
  const options = parseWords(args, {
    '--name': 'once',
    '--platform': 'once',
    '--insecure': 'switch',
    '--auth': 'switch',
  });
  const [reference] = exactly(options.words, 1, 'glovebox image pull REFERENCE');
  const parsed = parseReference(reference);
  const name = options.has('--name') ? localName(options.one('--name') ?? '') : nameOfReference(reference);
  const platform = options.one('--platform');
  const login = options.has('--auth') ? engineLogin(parsed, io.env, homeDirectory(io.env)) : undefined;
  const proxy = proxyFromEnvironment(io.env);
  return withImages(io, (context) =>
    makeImage(context, { action: 'pull', name }, () =>
      pullImage({
        store: context.store,
        reference,
        name,
        progress: context.progress,
        registry: {
          insecure: options.has('--insecure'),
          ...(login === undefined ? {} : { login }),
          ...(proxy === undefined ? {} : { proxy }),
        },
        ...(platform === undefined ? {} : { platform: parsePlatform(platform) }),
      }),
    ),
  );
}

export async function listVerb(args: readonly string[], io: CliIo): Promise<number> {
  exactly(parseWords(args, {}).words, 0, 'glovebox image list');
  return withImages(io, async ({ store }) => {
    const images = store.list();
    if (io.json)
      io.stdout.write(
        `${JSON.stringify({ images: images.map((one) => ({ ...one, root: store.root(one.chain) })) })}\n`,
      );
    else
      for (const { name, report, chain, source, createdAt } of images)
        io.stdout.write(
          `${name}  ${megabytes(report.bytes)}  ${new Date(createdAt).toISOString().slice(0, 10)}  ${chain.slice(0, 19)}  ${source}\n`,
        );
    return EXIT.ok;
  });
}

export async function removeVerb(args: readonly string[], io: CliIo): Promise<number> {
  const [name] = exactly(parseWords(args, {}).words, 1, 'glovebox image remove NAME');
  return withImages(io, async ({ store, audit, progress }) => {
    const { damaged } = await recorded(audit, { action: 'remove', name }, () => store.remove(name));
    progress(`${localName(name)} is removed`);
    for (const file of damaged) progress(`${printablePath(file)} cannot be read, so what it may use is kept`);
    return EXIT.ok;
  });
}

export async function pruneVerb(args: readonly string[], io: CliIo): Promise<number> {
  exactly(parseWords(args, {}).words, 0, 'glovebox image prune');
  return withImages(io, async ({ store, audit, progress }) => {
    const removed = await recorded(audit, { action: 'prune' }, async () => ({
      ...(await store.prune()),
      guests: await new MachineCache(machineCacheDir(gloveboxDirs(io.env))).prune(),
    }));
    if (io.json) io.stdout.write(`${JSON.stringify({ removed })}\n`);
    progress(
      `${removed.images} unused base systems, ${removed.blobs} unused blobs and ${removed.guests} unused files of microVMs are removed`,
    );
    return EXIT.ok;
  });
}

/** So many words, each of them there. @throws E_USAGE */
export function exactly(words: readonly string[], count: number, use: string): [string, string] {
  if (words.length !== count)
    throw new GloveboxError('E_USAGE', {
      what: `this takes ${count} words, not ${words.length}`,
      next: `Use: ${use}`,
    });
  return [words[0] ?? '', words[1] ?? ''];
}
