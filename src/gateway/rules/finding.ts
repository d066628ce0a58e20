import type { NetworkRule } from '../../policy/contract.ts';
import type { Verdict } from '../contract.ts';
import { printable, sourceOf } from '../decide.ts';
import type { RefusalStatus } from './contract.ts';

/** Something that a rule has against a request. */
export interface Finding {
  readonly verdict: Verdict;
  readonly status: RefusalStatus;
  /** Malformed or ambiguous: refused also where the rule only observes. */
  readonly structural: boolean;
}

/** What the part of a rule says; the reason is one sentence that begins with the rule's id by itself. */
export interface Said {
  /** Suffix of the rule's id: `.methods`, `.refuse[2]`. */
  readonly part: string;
  readonly reason: string;
  readonly remedy?: string;
  readonly status?: RefusalStatus;
  /** With 405: the methods that would do. */
  readonly methods?: readonly string[];
}

/** A refusal that a change of the policy lifts. */
export function against(rule: NetworkRule, said: Said): Finding {
  return build(rule, said, 403, false);
}

/** A refusal of something malformed: no policy lifts it. */
export function malformed(rule: NetworkRule, said: Said): Finding {
  return build(rule, said, 400, true);
}

function build(rule: NetworkRule, said: Said, status: RefusalStatus, structural: boolean): Finding {
  const verdict: Verdict = {
    action: 'deny',
    rule: `${rule.id}${said.part}`,
    reason: said.reason,
    source: sourceOf(rule.origin),
    ...(said.remedy === undefined ? {} : { remedy: said.remedy }),
    ...(said.methods === undefined ? {} : { methods: said.methods }),
  };
  return { verdict, status: said.status ?? status, structural };
}

/** Text of a request as a word in a sentence: quoted, printable, at most 128 characters. */
export function quoted(text: string): string {
  return `"${printable(text)}"`;
}

/** A path for a record: printable, at most 1 KiB. */
export function shownPath(path: string): string {
  return path.replace(/[^\x20-\x7e]/g, '?').slice(0, 1_024);
}

/** The first finding that refuses, or the first that a rule which only observes would have made. */
export interface Outcome {
  readonly refuse?: Finding;
  readonly wouldDeny?: string;
}

/** Asks one judgement after the other; later ones are not asked once one refuses. */
export function firstRefusal(observe: boolean, judgements: readonly (() => Finding | undefined)[]): Outcome {
  let wouldDeny: string | undefined;
  for (const judge of judgements) {
    const found = judge();
    if (found === undefined) continue;
    if (found.structural || !observe) return { refuse: found };
    wouldDeny ??= `${found.verdict.rule}: ${found.verdict.reason}`;
  }
  return wouldDeny === undefined ? {} : { wouldDeny };
}
