import { nearest } from '../base/nearest.ts';
import type { Origin, PathRule } from './contract.ts';
import type { FragmentSource } from './origin-at.ts';
import { formatPath } from './parse.ts';
import { isGlob, patternBase, resolvePath, type PathUse } from './path-text.ts';
import { quoteValue } from './problems.ts';
import { liftableNames } from './protected.ts';
import type { PathEntry } from './schema-leaves.ts';
import type { PolicyDocument } from './schema.ts';

export interface PathRuleSets {
  readonly read?: readonly PathRule[];
  readonly write?: readonly PathRule[];
  readonly deny?: readonly PathRule[];
  readonly protect?: readonly PathRule[];
  readonly unprotect?: readonly PathRule[];
}

interface Entry {
  readonly path: string;
  readonly optional: boolean;
  readonly literal: boolean;
  readonly why?: string;
}

/** The path lists of a document, absolute. A list that is not written stays away. */
export function pathRules(doc: PolicyDocument, source: FragmentSource): PathRuleSets {
  const sets: { -readonly [K in keyof PathRuleSets]: PathRuleSets[K] } = {};
  for (const use of ['read', 'write', 'deny'] as const) {
    const entries = doc.filesystem?.[use];
    if (entries !== undefined)
      sets[use] = entries.map((entry, i) => ruleOf(plainEntry(entry), use, i, source));
  }
  const protect = doc.filesystem?.protect;
  if (protect === undefined) return sets;
  const indexed = protect.map((entry, i) => ({ entry: plainEntry(entry), i }));
  const isLift = (entry: Entry): boolean => entry.path.startsWith('!') && !entry.literal;
  return {
    ...sets,
    protect: indexed
      .filter(({ entry }) => !isLift(entry))
      .map(({ entry, i }) => ruleOf(entry, 'protect', i, source)),
    unprotect: indexed
      .filter(({ entry }) => isLift(entry))
      .flatMap(({ entry, i }) => liftOf(entry, i, source)),
  };
}

function plainEntry(entry: PathEntry): Entry {
  if (typeof entry === 'string') return { path: entry, optional: false, literal: false };
  const { path, why, optional = false, literal = false } = entry;
  return { path, optional, literal, ...(why === undefined ? {} : { why }) };
}

function ruleOf(entry: Entry, use: PathUse, index: number, source: FragmentSource): PathRule {
  const origin = originOf(entry, use, index, source);
  const glob = !entry.literal && isGlob(entry.path);
  if (glob && isGlob(patternBase(entry.path, source.from))) {
    source.problems.push({
      ...(origin.position === undefined ? {} : { position: origin.position }),
      key: formatPath(['filesystem', use, index]),
      found: quoteValue(entry.path),
      expected: 'paths without patterns',
      why: `${patternBase(entry.path, source.from)} itself holds pattern characters, so what a pattern below it matches would be uncertain`,
    });
  }
  return {
    id: `${source.label}/filesystem.${use}[${index}]`,
    path: resolvePath(entry.path, source.from),
    glob,
    optional: entry.optional,
    origin,
  };
}

function originOf(entry: Entry, use: PathUse, index: number, source: FragmentSource): Origin {
  return {
    layer: source.layer,
    position: source.parsed.at(['filesystem', use, index]),
    ...(source.profile === undefined ? {} : { profile: source.profile }),
    ...(entry.why === undefined ? {} : { why: entry.why }),
  };
}

/** `!.vscode`: the built-in protection with this name is lifted. */
function liftOf(entry: Entry, index: number, source: FragmentSource): readonly PathRule[] {
  const name = entry.path.slice(1).replace(/\/+$/, '');
  const origin = originOf(entry, 'protect', index, source);
  const key = formatPath(['filesystem', 'protect', index]);
  const fail = (expected: string, why: string, near?: string): readonly PathRule[] => {
    source.problems.push({
      ...(origin.position === undefined ? {} : { position: origin.position }),
      key,
      found: quoteValue(entry.path),
      expected,
      why,
      ...(near === undefined ? {} : { nearest: `"!${near}"` }),
    });
    return [];
  };
  if (source.layer === 'organisation')
    return fail('a path', 'the organisation policy is a ceiling: it lifts nothing');
  const known = liftableNames();
  if (!known.includes(name))
    return fail(
      '"!" and the name of a built-in protection',
      `there is none named "${name}"`,
      nearest(name, known),
    );
  return [
    {
      id: `${source.label}/filesystem.protect[${index}]`,
      path: resolvePath(name, source.from),
      glob: false,
      optional: true,
      origin,
    },
  ];
}
