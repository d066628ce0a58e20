import type { SourcePosition } from '../base/errors.ts';
import type { LayerName, Origin } from './contract.ts';
import type { ParsedFile, PathStep } from './parse.ts';
import type { PathBase } from './path-text.ts';
import type { PolicyProblem } from './problems.ts';

/** What is needed to turn a checked document into a fragment. */
export interface FragmentSource {
  readonly parsed: ParsedFile;
  readonly layer: LayerName | 'built-in';
  readonly profile?: string;
  /** Begins the ids of rules: `user`, `profile:node`. */
  readonly label: string;
  readonly from: PathBase;
  readonly problems: PolicyProblem[];
}

/** The origin of what stands at a path. */
export function originAt(source: FragmentSource, path: readonly PathStep[], why?: string): Origin {
  const position: SourcePosition = source.parsed.at(path);
  return {
    layer: source.layer,
    position,
    ...(source.profile === undefined ? {} : { profile: source.profile }),
    ...(why === undefined ? {} : { why }),
  };
}
