/** A cell on its way in, from the thread that reads the control channel to the one that runs it. */
export type ToMain =
  | { readonly kind: 'run'; readonly id: string; readonly code: string; readonly typescript: boolean }
  | { readonly kind: 'interrupt' };

/** The way back: a frame for the host, or the word that an interrupt has arrived. */
export type ToWatcher =
  | {
      readonly kind: 'frame';
      readonly type: 'ready' | 'started' | 'result' | 'done';
      readonly id: string;
      readonly value: unknown;
    }
  | { readonly kind: 'noticed' };
