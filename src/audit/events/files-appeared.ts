import { words, type EventSpec } from './spec.ts';

export interface FilesAppeared {
  readonly files: readonly string[];
  readonly truncated: boolean;
}

export const filesAppeared: EventSpec<FilesAppeared> = {
  kind: 'files.appeared',
  doc: 'Files that the host may execute by itself appeared or changed in the workspace.',
  fields: { files: 'paths below the workspace', truncated: 'true when there were more' },
  say: (data) => `${words(data['files'])}${data['truncated'] === true ? ' and more' : ''}`,
};
