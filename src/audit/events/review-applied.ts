import { optional, word, type EventSpec } from './spec.ts';

export interface ReviewApplied {
  readonly review: string;
  readonly workspace: string;
  readonly outcome: 'applied' | 'refused';
  readonly paths: readonly string[];
  readonly changes: number;
  readonly protected: number;
  readonly reason?: string;
}

export const reviewApplied: EventSpec<ReviewApplied> = {
  kind: 'review.applied',
  doc: 'A person applied changes of a review to the workspace, or was refused and nothing was changed.',
  fields: {
    review: 'id of the review',
    workspace: 'the workspace on the host',
    outcome: 'applied or refused',
    paths: 'paths that were changed, the first 200; when refused, those that were asked for by name',
    changes: 'how many were changed',
    protected: 'how many of them a rule protects',
    reason: 'why it was refused',
  },
  say: (data) =>
    `${word(data, 'review')} ${word(data, 'outcome')}, ${word(data, 'changes')} changes in ${word(data, 'workspace')}${optional(data, 'reason', ': ')}`,
};
