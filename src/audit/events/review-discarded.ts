import { word, type EventSpec } from './spec.ts';

export interface ReviewDiscarded {
  readonly review: string;
}

export const reviewDiscarded: EventSpec<ReviewDiscarded> = {
  kind: 'review.discarded',
  doc: 'A person threw a review away; the workspace stays as it is.',
  fields: { review: 'id of the review' },
  say: (data) => word(data, 'review'),
};
