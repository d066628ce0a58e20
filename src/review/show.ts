import { closeSync, fstatSync, readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { CAPS } from '../base/caps.ts';
import { printablePath } from '../base/path-bytes.ts';
import type { Change, NodeState, Review } from './contract.ts';
import { inParent, leadsNowhere, openFileAt, openRoot } from './descriptors.ts';
import type { ReviewStore } from './store.ts';
import { unifiedDiff } from './unified.ts';

const LETTER = { added: 'A', modified: 'M', deleted: 'D', mode: 'm' } as const;

/** A change as one line for a person. */
export function changeLine(change: Change): string {
  const { kind, path, before, after, blocked, protectedBy, runs, binary } = change;
  const notes = [
    ...(after?.type === 'symlink' ? [`-> ${printablePath(after.target)}`] : []),
    ...(kind === 'mode' ? [`${octal(before)} -> ${octal(after)}`] : []),
    ...(kind !== 'mode' && isNewlyExecutable(before, after) ? ['executable'] : []),
    ...(binary === true ? ['binary'] : []),
    ...(blocked === undefined ? [] : [`NEVER APPLIED: ${blocked}`]),
    ...(protectedBy === undefined ? [] : [`PROTECTED by ${protectedBy}`]),
    ...(runs === undefined ? [] : [`RUNS ON YOUR MACHINE: ${runs}`]),
  ];
  const slash = (after ?? before)?.type === 'dir' ? '/' : '';
  return `${LETTER[kind]} ${printablePath(path)}${slash}${notes.length === 0 ? '' : `  (${notes.map(printablePath).join('; ')})`}`;
}

const octal = (state: NodeState | undefined): string =>
  state === undefined || state.type === 'symlink' ? '?' : state.mode.toString(8).padStart(3, '0');

const isExecutable = (state: NodeState | undefined): boolean =>
  state?.type === 'file' && (state.mode & 0o111) !== 0;

const isNewlyExecutable = (before: NodeState | undefined, after: NodeState | undefined): boolean =>
  isExecutable(after) && !isExecutable(before);

/** The texts of a change, as `diff -u` says it; a sentence where there is no text to compare. Empty for directories and modes. */
export function changeDiff(store: ReviewStore, review: Review, change: Change): string {
  const { path, before, after, kind } = change;
  const shown = printablePath(path);
  const head = `--- ${before === undefined ? '/dev/null' : `a/${shown}`}\n+++ ${kind === 'deleted' ? '/dev/null' : `b/${shown}`}\n`;
  if (kind === 'mode' || (before ?? after)?.type === 'dir' || after?.type === 'dir') return '';
  const old = textOf(before, () => hostContent(review, path));
  const now = textOf(after, () => storedContent(store, review, change));
  if ('why' in old || 'why' in now) {
    const why = 'why' in now ? now.why : 'why' in old ? old.why : '';
    return `${head}${why}\n`;
  }
  const diff = unifiedDiff(old.text, now.text);
  return `${head}${diff ?? 'too much differs to be shown line by line\n'}`;
}

type Text = { readonly text: string } | { readonly why: string };

function textOf(state: NodeState | undefined, read: () => Buffer | undefined): Text {
  if (state === undefined) return { text: '' };
  if (state.type === 'symlink') return { text: `symbolic link to ${state.target}\n` };
  if (state.type === 'dir') return { text: '' };
  if (state.size > CAPS.reviewDiffBytes) return { why: `too large to be shown: ${state.size} bytes` };
  const bytes = read();
  if (bytes === undefined || createHash('sha256').update(bytes).digest('hex') !== state.sha256)
    return { why: 'the host has another content by now' };
  if (bytes.subarray(0, 8000).includes(0)) return { why: `binary, ${state.size} bytes` };
  return { text: bytes.toString('utf8') };
}

function storedContent(store: ReviewStore, review: Review, { content }: Change): Buffer | undefined {
  return content === undefined ? undefined : readFileSync(store.content(review.id, content));
}

/** What the workspace has there, reached through no symbolic link. */
function hostContent(review: Review, path: string): Buffer | undefined {
  const root = openRoot(review.workspace);
  try {
    return inParent(root, path, (dir, name) => {
      const fd = openFileAt(dir, name);
      try {
        const stat = fstatSync(fd);
        return stat.isFile() && stat.size <= CAPS.reviewDiffBytes ? readFileSync(fd) : undefined;
      } finally {
        closeSync(fd);
      }
    });
  } catch (error) {
    if (leadsNowhere(error)) return undefined;
    throw error;
  } finally {
    closeSync(root);
  }
}
