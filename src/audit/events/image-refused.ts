import { optional, word, type EventSpec } from './spec.ts';

export interface ImageRefused {
  readonly action: 'import' | 'pull' | 'build' | 'remove' | 'prune';
  readonly name?: string;
  readonly code: string;
  readonly what: string;
  readonly why?: string;
}

export const imageRefused: EventSpec<ImageRefused> = {
  kind: 'image.refused',
  doc: 'A base system was not taken into the image store; nothing of it is left.',
  fields: {
    action: 'import, pull, build, remove or prune',
    name: 'local name',
    code: 'the stable error code',
    what: 'one sentence',
    why: 'the reason',
  },
  say: (data) =>
    `${word(data, 'action')}${optional(data, 'name', ' ')}: ${word(data, 'what')} [${word(data, 'code')}]`,
};
