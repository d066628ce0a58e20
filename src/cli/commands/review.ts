import type { CliCommand } from '../contract.ts';
import { runVerb, unknownVerbOf, type Verbs } from '../verbs.ts';

const VERBS: Verbs = {
  list: async () => (await import('../review/verbs.ts')).listVerb,
  show: async () => (await import('../review/verbs.ts')).showVerb,
  apply: async () => (await import('../review/verbs.ts')).applyVerb,
  discard: async () => (await import('../review/verbs.ts')).discardVerb,
};

export const reviewCommand: CliCommand = {
  name: 'review',
  summary: 'look at what a sandbox changed in its copy of the workspace, and apply it',
  usage: `Usage: glovebox review list
       glovebox review show ID [--diff] [PATH…]
       glovebox review apply ID [--protected] [PATH…]
       glovebox review discard ID

A command that runs with --review (or under \`filesystem.mode: review\`) works on a copy of the workspace. What it changed
waits as a review; the workspace changes when you apply it: all the chosen changes, or none.

      --diff       the texts, as diff -u says it
      --protected  apply also what a protect rule of the policy, or a git directory's own files, holds back
      --json       one JSON object on standard output

PATH is meant from the workspace; a directory stands for everything in it. ID may be left out when only one review waits.
Changes that lead out of the workspace, device nodes, set-id files and denied paths are never applied. See docs/guide/review.md.`,
  run: runVerb(VERBS, unknownVerbOf('review', 'reviews')),
};
