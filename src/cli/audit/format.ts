import type { AuditRecord } from '../../audit/contract.ts';
import { EVENT_SPECS } from '../../audit/events/index.ts';
import { visibleLine } from '../../audit/redact.ts';

/** Longest description in the table; the record itself has all of it. */
const WHAT_CHARACTERS = 160;

/** One record as a row of text: time, sandbox, kind, what happened, the rule that decided. Safe for a terminal whatever the record holds. */
export function recordRow(record: AuditRecord): string {
  const time = visibleLine(record.at).replace('T', ' ').replace('Z', '');
  const sandbox = shorten(visibleLine(record.sandbox ?? '-'), 16).padEnd(16);
  const what = shorten(visibleLine(EVENT_SPECS[record.kind].say(record.data)), WHAT_CHARACTERS);
  return `${time}  ${sandbox}  ${record.kind.padEnd(15)}  ${what}${ruleOf(record)}`;
}

function ruleOf(record: AuditRecord): string {
  const { rule, source } = record.data;
  if (typeof rule !== 'string') return '';
  const from = typeof source === 'string' ? `, ${visibleLine(source)}` : '';
  return `  [${visibleLine(rule)}${from}]`;
}

function shorten(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

/** One record as a line of ASCII JSON. */
export function recordJson(record: AuditRecord): string {
  return JSON.stringify(record).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
