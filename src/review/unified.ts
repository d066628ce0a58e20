import { CAPS } from '../base/caps.ts';
import { printablePath } from '../base/path-bytes.ts';
import { editLines, type LineEdit } from './lines.ts';

/** Lines around a change. */
const CONTEXT = 3;

/**
 * Two texts as a unified diff, for a terminal: control characters are escapes, a last line without its end is marked as `diff -u` does. Undefined
 * where too much differs to be worth comparing line by line.
 */
export function unifiedDiff(before: string, after: string): string | undefined {
  const edits = editLines(linesOf(before), linesOf(after), CAPS.reviewDiffEdits);
  if (edits === undefined) return undefined;
  return hunksOf(edits)
    .map((hunk) => hunkText(hunk))
    .join('');
}

/** A line keeps its end, so that one that lacks it differs. */
const linesOf = (text: string): readonly string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

interface Hunk {
  /** Counted from 1; of an empty side the line before. */
  readonly oldStart: number;
  readonly newStart: number;
  readonly edits: LineEdit[];
}

function hunksOf(edits: readonly LineEdit[]): readonly Hunk[] {
  const near = new Uint8Array(edits.length);
  for (const [i, { kind }] of edits.entries())
    if (kind !== ' ') near.fill(1, Math.max(0, i - CONTEXT), i + CONTEXT + 1);
  const hunks: Hunk[] = [];
  let open: Hunk | undefined;
  let oldLine = 1;
  let newLine = 1;
  for (const [i, edit] of edits.entries()) {
    if (near[i] === 0) open = undefined;
    else if (open === undefined) hunks.push((open = { oldStart: oldLine, newStart: newLine, edits: [edit] }));
    else open.edits.push(edit);
    if (edit.kind !== '+') oldLine++;
    if (edit.kind !== '-') newLine++;
  }
  return hunks;
}

function hunkText({ oldStart, newStart, edits }: Hunk): string {
  const oldCount = edits.filter(({ kind }) => kind !== '+').length;
  const newCount = edits.filter(({ kind }) => kind !== '-').length;
  const head = `@@ -${range(oldStart, oldCount)} +${range(newStart, newCount)} @@\n`;
  return head + edits.map(lineText).join('');
}

const range = (start: number, count: number): string =>
  count === 1 ? String(start) : `${count === 0 ? start - 1 : start},${count}`;

function lineText({ kind, text }: LineEdit): string {
  const ends = text.endsWith('\n');
  const line = ends ? text.slice(0, -1) : text;
  return `${kind}${printableText(line)}\n${ends ? '' : '\\ No newline at end of file\n'}`;
}

/** Tabs stay; everything else that a terminal would obey is an escape. */
const printableText = (line: string): string => line.split('\t').map(printablePath).join('\t');
