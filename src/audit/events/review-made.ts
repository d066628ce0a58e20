import { word, type EventSpec } from './spec.ts';

export interface ReviewMade {
  readonly review: string;
  readonly workspace: string;
  readonly changes: number;
  readonly blocked: number;
  readonly protected: number;
  readonly truncated: boolean;
}

export const reviewMade: EventSpec<ReviewMade> = {
  kind: 'review.made',
  doc: 'A sandbox ended that worked on a copy of the workspace; what it changed waits for a person.',
  fields: {
    review: 'id of the review',
    workspace: 'the workspace on the host, unchanged',
    changes: 'how many paths differ',
    blocked: 'how many of them are never applied',
    protected: 'how many a rule protects',
    truncated: 'true when there were more than are kept',
  },
  say: (data) => `${word(data, 'review')}: ${word(data, 'changes')} changes for ${word(data, 'workspace')}`,
};
