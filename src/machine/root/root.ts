import { createHash } from 'node:crypto';
import { lstatSync } from 'node:fs';
import type { MachineCache } from '../cache/cache.ts';
import type { MachineLease } from '../cache/leases.ts';
import type { Artefact, OnProgress, RootSource } from '../contract.ts';
import { findMkfs, runMkfs } from './mkfs.ts';
import { hiddenIn, partsOf, rulesOf, sourceKey } from './source.ts';
import { surveyRoot } from './survey.ts';

export interface RootInput {
  readonly cache: MachineCache;
  readonly lease: MachineLease;
  readonly root: RootSource;
  readonly bubblewrap: string;
  readonly env: NodeJS.ProcessEnv;
  readonly progress: OnProgress;
  readonly signal?: AbortSignal;
}

/** Changes with the options of mkfs.erofs and the rules of what is left out. */
const FORMAT = '1';

/**
 * The guest's root, as a read-only erofs image.
 *
 * @throws E_TIER_UNAVAILABLE without mkfs.erofs, E_IMAGE_TOO_LARGE, E_IMAGE_SPACE, E_ABORTED, E_IO
 */
export async function ensureRoot(input: RootInput): Promise<Artefact> {
  const { cache, lease, root, signal } = input;
  const key = createHash('sha256')
    .update(`${FORMAT} ${await sourceKey(root, signal)}`)
    .digest('hex');
  return cache.ensure({ kind: 'root', key, slot: slotOf(root) }, lease, (file) => build(input, file));
}

/** The host's system, a directory or an image: of each the newest is enough. */
function slotOf(root: RootSource): string {
  return root.kind === 'host' ? 'root of the host' : `root ${root.key ?? root.root}`;
}

/** Between lines that say that it goes on. */
const STILL_MS = 15_000;

const gigabytes = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

const writtenTo = (file: string): number => lstatSync(file, { throwIfNoEntry: false })?.size ?? 0;

async function build(input: RootInput, output: string): Promise<void> {
  const { root, bubblewrap, progress, signal } = input;
  const mkfs = findMkfs(input.env);
  const { entries, bytes, excluded } = await surveyRoot(partsOf(root), rulesOf(root), signal);
  const label = root.kind === 'host' ? "the host's system" : root.label;
  progress(`building the guest's root from ${label}, once: ${entries} files, ${gigabytes(bytes)}`);
  const started = performance.now();
  const timer = setInterval(
    () => progress(`still building: ${gigabytes(writtenTo(output))} written`),
    STILL_MS,
  );
  try {
    await runMkfs({ bubblewrap, mkfs, source: root, excluded, hidden: hiddenIn(root), output }, signal);
  } finally {
    clearInterval(timer);
  }
  progress(`the guest's root is there after ${Math.round((performance.now() - started) / 1000)} s`);
}
