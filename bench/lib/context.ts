import path from 'node:path';
import { packageRoot } from '../../src/base/version.ts';
import type { Invocation } from './command.ts';
import type { PeerAnswer } from './peer.ts';
import type { Place } from './place.ts';
import type { SubjectResult } from './result.ts';

/** What a subject gets. */
export interface Context {
  readonly place: Place;
  /** Directory of the bundled helper programs. */
  readonly programs: string;
  /** The peer, looked for when first asked. */
  readonly peer: () => PeerAnswer;
  /** A count, or what the command line said instead. */
  readonly rounds: (count: number) => number;
  /** No round of a subject begins after this many milliseconds. */
  readonly budgetMs: number;
}

/** One file in `bench/subjects/`. */
export interface Subject {
  readonly name: string;
  readonly summary: string;
  readonly run: (context: Context) => Promise<SubjectResult>;
}

/** The built program. */
export const program = (): string => path.join(packageRoot(), 'dist/bin/glovebox.js');

interface GloveboxRun {
  readonly workspace: string;
  readonly env: NodeJS.ProcessEnv;
  readonly options?: readonly string[];
  readonly command: readonly string[];
}

/** `glovebox run` as the benchmarks call it: the built program, by the Node.js that runs them. */
export function gloveboxRun(run: GloveboxRun): Invocation {
  const argv = [process.execPath, program(), 'run', ...(run.options ?? []), '--', ...run.command];
  return { argv, cwd: run.workspace, env: run.env };
}

/** Bubblewrap with fresh namespaces over the host's files: as little as there can be. */
export function bareBubblewrap(place: Place, workspace: string): Invocation {
  const view = ['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc'];
  return {
    argv: ['bwrap', '--unshare-all', '--die-with-parent', ...view, 'true'],
    cwd: workspace,
    env: place.env(),
  };
}
