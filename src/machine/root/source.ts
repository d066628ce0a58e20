import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { isWithin } from '../../base/path-bytes.ts';
import { isDirectory } from '../../drivers/facts.ts';
import { leftOutOfImages } from '../../drivers/image-view.ts';
import { sealText } from '../cache/seal.ts';
import type { RootSource } from '../contract.ts';
import { hostKey } from './host-key.ts';
import { surveyRoot, type RootPart, type SurveyRules } from './survey.ts';

/** Kernels of guests, and what else the setup script unpacks for the host's side. */
const OWN_FILES = '/usr/local/lib/glovebox';

/** What of the host is in the root: files and directories; links are made anew. */
export function partsOf(source: RootSource): readonly RootPart[] {
  if (source.kind === 'tree') return [{ source: source.root, target: '/' }];
  return source.system
    .filter((fact) => fact.link === undefined && fact.dir !== true)
    .map((fact) => ({ source: fact.source, target: fact.path }));
}

/** The directories that stand empty. */
export function hiddenIn(source: RootSource): readonly string[] {
  if (source.kind === 'tree') return [];
  const parts = partsOf(source);
  return source.hidden.filter((dir) => isDirectory(dir) && parts.some((part) => isWithin(dir, part.target)));
}

/** The rules for what is in it. */
export function rulesOf(source: RootSource): SurveyRules {
  if (source.kind === 'tree')
    return { allows: callerReads(), leavesOut: leftOutOfImages, empties: () => false };
  const hidden = new Set(hiddenIn(source));
  return {
    // Of the host only what everybody there may read: in the guest it belongs to nobody's account.
    allows: (stat) => grants(stat, 0),
    leavesOut: (target) => isWithin(target, OWN_FILES),
    empties: (target) => hidden.has(target),
  };
}

/** As the kernel decides it for a process without capabilities (inode(7)). */
function callerReads(): (stat: BigIntStats) => boolean {
  const uid = process.getuid?.();
  const groups = new Set([process.getgid?.(), ...(process.getgroups?.() ?? [])]);
  return (stat) => grants(stat, Number(stat.uid) === uid ? 6 : groups.has(Number(stat.gid)) ? 3 : 0);
}

/** Whether these three bits of the mode, counted from the right, let read a file, or list and enter a directory. */
function grants(stat: BigIntStats, shift: number): boolean {
  const wanted = stat.isDirectory() ? 0o5 : 0o4;
  return stat.isSymbolicLink() || ((Number(stat.mode) >> shift) & wanted) === wanted;
}

/** Changes with the content of the source, hex. */
export async function sourceKey(source: RootSource, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const rules = rulesOf(source);
  if (source.kind === 'host') hash.update(`host ${hostKey(source.system)} ${hiddenIn(source).join('\0')}`);
  else if (source.key !== undefined) hash.update(`tree ${source.key}`);
  else {
    hash.update(`directory ${source.root}`);
    const visit = (target: string, stat: BigIntStats): void =>
      void hash.update(`${target.length} ${target} ${sealText(stat)}\n`);
    await surveyRoot(partsOf(source), { ...rules, visit }, signal);
  }
  return hash.digest('hex');
}
