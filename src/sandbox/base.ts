import type { Stats } from 'node:fs';
import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import type { GloveboxDirs } from '../base/paths.ts';
import type { Teardown } from '../base/teardown.ts';
import type { Mount } from '../drivers/contract.ts';
import { realPath } from '../drivers/facts.ts';
import { imageViewFacts } from '../drivers/image-view.ts';
import type { VisibleTree } from '../drivers/survey.ts';
import type { ViewFacts } from '../drivers/view.ts';
import type { BaseImage } from '../images/contract.ts';
import { NO_CONFIG } from '../images/import.ts';
import { imageStoreDir } from '../images/store/layout.ts';
import { ImageStore } from '../images/store/store.ts';
import { platformText } from '../images/platform.ts';
import { partsOf, resolveIn, statOf } from '../images/tree.ts';
import type { BaseSystem } from '../policy/contract.ts';

/** Where to look, and what must not be part of a base system. */
export interface BaseFacts {
  readonly dirs: GloveboxDirs;
  readonly home: string;
  readonly trees: readonly VisibleTree[];
}

/**
 * The base system that a policy names.
 *
 * @throws E_IMAGE_NOT_FOUND, E_POLICY_INVALID for a directory that would show what must stay hidden, or that the sandbox could change
 */
export function findBase(base: BaseSystem, facts: BaseFacts): BaseImage {
  if (base.kind === 'image') return new ImageStore(imageStoreDir(facts.dirs)).base(base.name);
  const root = realPath(base.path);
  const refuse = (why: string): GloveboxError =>
    new GloveboxError('E_POLICY_INVALID', {
      what: `${printablePath(base.path)} cannot be the base system`,
      why,
      next: 'Name the directory of an unpacked root file system, or import it: `glovebox image import DIR NAME`.',
    });
  if (root === undefined || statOf(root)?.isDirectory() !== true) throw refuse('there is no such directory');
  if (statOf(`${root}/usr`) === undefined && statOf(`${root}/bin`) === undefined)
    throw refuse('it has neither usr nor bin, so nothing in it could run');
  // Links that it plants there would be followed by the next run.
  const tree = facts.trees.find(
    (one) => one.writable && (isWithin(root, one.source) || isWithin(one.source, root)),
  );
  if (tree !== undefined) throw refuse(`the sandbox may write to ${printablePath(tree.source)}`);
  const { config, state, cache, runtime } = facts.dirs;
  const inside = [facts.home, config, state, cache, runtime].find((dir) =>
    isWithin(realPath(dir) ?? dir, root),
  );
  if (inside !== undefined) throw refuse(`it holds ${printablePath(inside)}, which no sandbox sees`);
  return { root, label: printablePath(base.path), config: NO_CONFIG };
}

/** Said before anything of an image for another machine fails to start. */
export function foreignNotice({ label, platform }: BaseImage): string | undefined {
  if (platform === undefined) return undefined;
  return `${label} is for ${platformText(platform)}: its programs start only where this kernel hands them to an emulator (binfmt_misc)`;
}

/** The facts of a view on that base. `overlays` is the view without a base system. */
export function viewOnBase(view: ViewFacts, base: BaseImage, overlays: readonly Mount[]): ViewFacts {
  const { root, label, config } = base;
  const resolve = (inside: string): string | undefined => existing(root, inside);
  return imageViewFacts(view, { root, label, env: config.env, resolve }, overlays);
}

/** True when a directory is part of the base system. */
export function hasDirectory(base: BaseImage, inside: string): boolean {
  const real = existing(base.root, inside);
  return real !== undefined && statOf(real)?.isDirectory() === true;
}

function existing(root: string, inside: string): string | undefined {
  const real = resolveIn(root, partsOf(inside), { follow: true, missing: 'undefined' });
  const stat: Stats | undefined = real === undefined ? undefined : statOf(real);
  return stat === undefined ? undefined : real;
}

/**
 * Keeps the image of a sandbox in the store until it ends.
 *
 * @throws E_IMAGE_NOT_FOUND when it was removed since the plan was made
 */
export async function holdBase(
  base: BaseImage | undefined,
  facts: { readonly id: string; readonly dirs: GloveboxDirs; readonly teardown: Teardown },
): Promise<void> {
  if (base?.chain === undefined) return;
  const store = new ImageStore(imageStoreDir(facts.dirs));
  const release = await store.hold(facts.id, { chains: [base.chain], blobs: [] });
  facts.teardown.add('image lease', release);
  if (statOf(base.root) === undefined)
    throw new GloveboxError('E_IMAGE_NOT_FOUND', { what: `${base.label} was removed a moment ago` });
}
