import { optional, word, type EventSpec } from './spec.ts';

export interface RunRefused {
  readonly code: string;
  readonly what: string;
  readonly why?: string;
}

export const runRefused: EventSpec<RunRefused> = {
  kind: 'run.refused',
  doc: 'A run was refused before anything ran.',
  fields: { code: 'error code', what: 'what happened', why: 'why, where known' },
  say: (data) => `${word(data, 'what')}${optional(data, 'why', ': ')} [${word(data, 'code')}]`,
};
