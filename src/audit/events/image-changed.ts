import { optional, word, type EventSpec } from './spec.ts';

export interface ImageChanged {
  readonly action: 'import' | 'pull' | 'build' | 'remove' | 'prune';
  readonly name?: string;
  readonly chain?: string;
  readonly source?: string;
}

export const imageChanged: EventSpec<ImageChanged> = {
  kind: 'image.changed',
  doc: 'A base system came into the image store, or left it.',
  fields: {
    action: 'import, pull, build, remove or prune',
    name: 'local name',
    chain: 'digest of its layers',
    source: 'where it came from',
  },
  say: (data) => `${word(data, 'action')}${optional(data, 'name', ' ')}${optional(data, 'source', ' from ')}`,
};
