import type { Comparison, RunRecord, SubjectRecord, Unit } from './result.ts';
import { best, isMet, median } from './stats.ts';

interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The run as aligned text for a terminal, or as Markdown for a document. */
export function report(run: RunRecord, markdown: boolean): string {
  const lines = [run.machine, `Glovebox ${run.version}, ${run.at}`, ''];
  for (const subject of run.subjects) {
    lines.push(markdown ? `### ${subject.name}` : `== ${subject.name}`, '', loadLine(subject), '');
    for (const table of tablesOf(subject))
      lines.push(...(markdown ? markdownTable(table) : textTable(table)), '');
    for (const skip of subject.skips) lines.push(`Skipped: ${skip.label} (${skip.why})`, '');
    if (subject.error !== undefined) lines.push(`Failed: ${subject.error}`, '');
  }
  return lines.join('\n');
}

function loadLine({ load, seconds, series }: SubjectRecord): string {
  const counts = [...new Set(series.map((one) => one.samples.length))].join(' or ');
  const rounds = counts === '' ? '' : `, ${counts} rounds`;
  return `Load ${load.before.toFixed(2)} before, ${load.after.toFixed(2)} after; ${seconds.toFixed(0)} s${rounds}.`;
}

function tablesOf(subject: SubjectRecord): readonly Table[] {
  const figures: Table = {
    head: ['figure', 'median', 'best', 'command'],
    rows: subject.series.map((one) => [
      one.label,
      number(median(one.samples), one.unit),
      number(best(one), one.unit),
      one.command,
    ]),
  };
  const comparisons: Table = {
    head: ['comparison', 'median', 'best', 'target', 'met'],
    rows: subject.comparisons.map((one) => [
      one.label,
      number(one.median, one.unit),
      number(one.best, one.unit),
      targetText(one),
      metText(one),
    ]),
  };
  return [figures, comparisons].filter((table) => table.rows.length > 0);
}

function targetText({ target, unit }: Comparison): string {
  if (target === undefined) return '';
  return `${target.at === 'most' ? '≤' : '≥'} ${number(target.value, unit)}`;
}

function metText({ target, median: middle, best: top }: Comparison): string {
  if (target === undefined) return '';
  if (isMet(middle, target)) return 'yes';
  return isMet(top, target) ? 'best only' : 'no';
}

function number(value: number, unit: Unit): string {
  if (unit === 'processes') return String(value);
  const digits = unit === 'x' || Math.abs(value) < 10 ? 2 : Math.abs(value) < 100 ? 1 : 0;
  const text = value.toFixed(digits);
  return unit === 'x' ? `${text}×` : `${text} ${unit}`;
}

function markdownTable({ head, rows }: Table): readonly string[] {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)];
}

function textTable({ head, rows }: Table): readonly string[] {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => (row[i] ?? '').length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd();
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)];
}
