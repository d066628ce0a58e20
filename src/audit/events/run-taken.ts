import { word, type EventSpec } from './spec.ts';

export interface RunTaken {
  /** Milliseconds since it was started. */
  readonly waitedMs: number;
  readonly metadata: Readonly<Record<string, string>>;
}

export const runTaken: EventSpec<RunTaken> = {
  kind: 'run.taken',
  doc: 'A sandbox that was started ahead was handed out: what follows is done for whoever took it.',
  fields: {
    waitedMs: 'how long it had been ready, milliseconds',
    metadata: 'labels of whoever took it',
  },
  say: (data) => `handed out after ${word(data, 'waitedMs')} ms`,
};
