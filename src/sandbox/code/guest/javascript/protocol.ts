/** A cell on its way in, from the thread that reads the control channel to the one that runs it. */
export type ToMain =
  | { readonly kind: 'run'; readonly id: string; readonly code: string; readonly typescript: boolean }
  | { readonly kind: 'interrupt' };

export type FrameType = 'ready' | 'started' | 'result' | 'done';

/** The way back: a frame for the host, its body as JSON, or the word that an interrupt has arrived. */
export type ToWatcher =
  | { readonly kind: 'frame'; readonly type: FrameType; readonly id: string; readonly body: string }
  | { readonly kind: 'noticed' };
