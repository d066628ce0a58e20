import type { Digest } from './digest.ts';
import type { ImageConfig } from './documents.ts';
import type { Platform } from './platform.ts';
import type { UnpackReport } from './unpack/budget.ts';

/** A base system in the store, by the name it was given. */
export interface ImageRecord {
  readonly name: string;
  /** Identifies the unpacked layers, and with them the directory. */
  readonly chain: Digest;
  /** Where it came from: a reference with its digest, a file, a recipe. For people. */
  readonly source: string;
  /** Blobs that stay as long as the name does. */
  readonly blobs: readonly Digest[];
  readonly config: Pick<ImageConfig, 'env' | 'workingDir' | 'user' | 'entrypoint' | 'cmd'>;
  /** Set where it is not this machine's: somebody asked for it by name. */
  readonly platform?: Platform;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly report: UnpackReport;
}

/** A base system that a sandbox stands on. */
export interface BaseImage {
  /** Absolute, real: the directory that is `/` there. */
  readonly root: string;
  /** What it is called in `explain` and in messages. */
  readonly label: string;
  readonly config: ImageRecord['config'];
  /** Set where it is not this machine's. */
  readonly platform?: Platform;
  /** Set for an image of the store: whoever uses it holds a lease. */
  readonly chain?: Digest;
}

/** Something happens that takes time; for progress lines. */
export type OnProgress = (line: string) => void;

/** One `RUN` of a recipe. */
export interface RecipeStep {
  /** A shell line (`RUN apt-get …`), or a program with its arguments (`RUN ["…"]`). */
  readonly command: string | readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Absolute, inside the image. */
  readonly workingDir: string;
  /** The image that is made: the writable root of the step. Absolute. */
  readonly root: string;
  /** Ends this step. */
  readonly signal: AbortSignal;
}

/** How a step ended. */
export interface StepEnd {
  readonly exitCode: number;
  /** `host:port` that it was refused, each once. */
  readonly refused: readonly string[];
}

/** Runs the steps of a recipe in a sandbox. Row 6 has the real one: this room knows no sandbox. */
export interface RecipeRunner {
  /** What the step prints goes to `output`. */
  run(step: RecipeStep, output: (chunk: Uint8Array) => void): Promise<StepEnd>;
}
