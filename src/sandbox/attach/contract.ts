import type { OutputCursor } from '../../agent/kept-output.ts';
import type { Program } from '../handle.ts';

/**
 * What another process of the same user may ask of a sandbox's owner, over a socket that only that user reaches: one line of JSON
 * each way. After `session` the same connection speaks the agent's protocol.
 */
export type AttachRequest =
  | { readonly ask: 'session' }
  | { readonly ask: 'info' }
  | { readonly ask: 'kill' }
  | { readonly ask: 'set-timeout'; readonly timeoutMs: number }
  | { readonly ask: 'pause' }
  | { readonly ask: 'resume' }
  | { readonly ask: 'metrics' }
  | { readonly ask: 'programs' }
  | ProgramRequest;

/** After the answer the same connection is about this command: lines of JSON both ways, see `program-server.ts`. */
export interface ProgramRequest {
  readonly ask: 'program';
  readonly pid: number;
  readonly pty: boolean;
  /** Where to begin to read; default what is still kept. */
  readonly cursor?: Partial<OutputCursor>;
  /** No output: something is said to it, and that is all. */
  readonly silent?: true;
}

export type AttachAnswer =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly code: string; readonly what: string };

/** The owner's side of everything but the session itself. */
export interface AttachOwner {
  info(): unknown;
  kill(): Promise<unknown>;
  setTimeout(timeoutMs: number): void;
  pause(): Promise<void>;
  resume(): Promise<void>;
  metrics(): unknown;
  /** Background commands and terminals that the owner's process started. */
  programs(): readonly Program[];
}

/** A request or an answer is one line of at most so many bytes. */
export const ATTACH_LINE_BYTES = 1024 * 1024;

/** A client that connects and says nothing is cut off after this long, in ms. */
export const ATTACH_WORD_MS = 5000;
