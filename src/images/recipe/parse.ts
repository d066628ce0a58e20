import { GloveboxError, type SourcePosition } from '../../base/errors.ts';
import { nearest } from '../../base/nearest.ts';
import { printablePath } from '../../base/path-bytes.ts';
import { CAPS } from '../../base/caps.ts';

/** One instruction, checked; `at` is where it stands. */
export type Instruction =
  | { readonly kind: 'FROM'; readonly name: string; readonly at: SourcePosition }
  | { readonly kind: 'RUN'; readonly command: string | readonly string[]; readonly at: SourcePosition }
  | {
      readonly kind: 'COPY';
      readonly from: readonly string[];
      readonly to: string;
      readonly at: SourcePosition;
    }
  | {
      readonly kind: 'ENV';
      readonly values: readonly (readonly [string, string])[];
      readonly at: SourcePosition;
    }
  | { readonly kind: 'WORKDIR'; readonly path: string; readonly at: SourcePosition };

const KINDS = ['FROM', 'RUN', 'COPY', 'ENV', 'WORKDIR'] as const;

/** Instructions of other tools, and why they are not here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  ADD: 'use COPY, and fetch in a RUN whose network you allowed',
  CMD: 'a sandbox is told what to run',
  ENTRYPOINT: 'a sandbox is told what to run',
  USER: "a sandbox's user is its own",
  EXPOSE: 'ports are opened with --publish',
  VOLUME: 'trees come from the policy',
  ARG: 'use ENV',
  LABEL: 'images have a name and nothing more',
  HEALTHCHECK: 'a sandbox has none',
  ONBUILD: 'write the instructions out',
  SHELL: 'RUN uses /bin/sh; give a list for another',
  STOPSIGNAL: 'a sandbox is ended by its owner',
  MAINTAINER: 'images have a name and nothing more',
};

/** An instruction with its continuation lines joined. */
interface Line {
  readonly word: string;
  readonly rest: string;
  readonly at: SourcePosition;
  /** Where `rest` begins. */
  readonly restAt: SourcePosition;
}

/** Reads a recipe: one FROM, then any of RUN, COPY, ENV, WORKDIR. Pure. @throws E_IMAGE_RECIPE */
export function parseRecipe(text: string, file: string): readonly Instruction[] {
  if (Buffer.byteLength(text) > CAPS.recipeBytes)
    throw recipeError({ file, line: 1, column: 1 }, 'the recipe is too long');
  const instructions = splitLines(text, file).map(parseLine);
  const [first, ...rest] = instructions;
  if (first?.kind !== 'FROM')
    throw recipeError(first?.at ?? { file, line: 1, column: 1 }, 'a recipe begins with FROM');
  const second = rest.find((one) => one.kind === 'FROM');
  if (second !== undefined) throw recipeError(second.at, 'a recipe has one FROM; bake two images instead');
  return instructions;
}

/** `Recipe:3:1`, for the beginning of a message. */
export function placeText(at: SourcePosition): string {
  return `${printablePath(at.file)}:${at.line}:${at.column}`;
}

/** An error at a place of the recipe. */
export function recipeError(at: SourcePosition, what: string, hint?: string): GloveboxError {
  return new GloveboxError('E_IMAGE_RECIPE', {
    what: `${placeText(at)}: ${what}`,
    ...(hint === undefined ? {} : { next: `Did you mean ${hint}?` }),
    context: { position: at },
  });
}

function splitLines(text: string, file: string): readonly Line[] {
  const found: Line[] = [];
  const lines = text.split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) {
    const start = i;
    if (/^\s*(?:#.*)?$/.test(lines[i] ?? '')) continue;
    const pieces = [lines[i] ?? ''];
    while (pieces.at(-1)?.endsWith('\\') === true && i + 1 < lines.length) {
      const next = lines[++i] ?? '';
      // A comment between continued lines is one too, as everywhere.
      if (/^\s*#/.test(next)) continue;
      pieces.push((pieces.pop() ?? '').slice(0, -1), next);
    }
    const match = /^(\s*)(\S+)(\s*)(.*)$/s.exec(pieces.join(''));
    const [, indent = '', word = '', gap = '', rest = ''] = match ?? [];
    const place = (column: number): SourcePosition => ({ file, line: start + 1, column });
    found.push({
      word,
      rest: rest.trimEnd(),
      at: place(indent.length + 1),
      restAt: place(indent.length + word.length + gap.length + 1),
    });
  }
  return found;
}

function parseLine(line: Line): Instruction {
  const word = line.word.toUpperCase();
  const kind = KINDS.find((known) => known === word);
  if (kind === undefined) throw unknownInstruction(line, word);
  if (line.rest === '') throw recipeError(line.at, `${kind} says nothing`);
  if (line.rest.startsWith('--')) throw recipeError(line.restAt, `${kind} has no options here`);
  switch (kind) {
    case 'FROM':
      return parseFrom(line);
    case 'RUN':
      return { kind, command: wordList(line) ?? line.rest, at: line.at };
    case 'COPY':
      return parseCopy(line);
    case 'ENV':
      return { kind, values: parseEnv(line), at: line.at };
    case 'WORKDIR':
      return { kind, path: line.rest, at: line.restAt };
  }
}

function unknownInstruction(line: Line, word: string): GloveboxError {
  const why = ELSEWHERE[word];
  if (why !== undefined) return recipeError(line.at, `${word} is not part of a recipe: ${why}`);
  return recipeError(
    line.at,
    `there is no instruction ${printablePath(line.word.slice(0, 50))}`,
    nearest(word, KINDS),
  );
}

function parseFrom(line: Line): Instruction {
  const [name = '', ...more] = line.rest.split(/\s+/);
  if (more.length > 0) throw recipeError(line.restAt, 'FROM takes the name of one image, or scratch');
  return { kind: 'FROM', name, at: line.restAt };
}

function parseCopy(line: Line): Instruction {
  const words = wordList(line) ?? line.rest.split(/\s+/);
  const to = words.at(-1);
  if (to === undefined || words.length < 2)
    throw recipeError(line.restAt, 'COPY takes a source and a destination');
  if (words.length > 2 && !to.endsWith('/'))
    throw recipeError(line.restAt, 'the destination of several sources is a directory', `${to}/`);
  return { kind: 'COPY', from: words.slice(0, -1), to, at: line.restAt };
}

/** `["…", "…"]` as JSON; undefined for anything that does not begin like a list. */
function wordList(line: Line): readonly string[] | undefined {
  if (!line.rest.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(line.rest);
    if (
      Array.isArray(value) &&
      value.length > 0 &&
      value.every((item): item is string => typeof item === 'string')
    )
      return value;
  } catch {
    // The same answer.
  }
  throw recipeError(line.restAt, 'a list is JSON: ["program", "argument"]');
}

/** `NAME=value` pairs; values may be quoted. The old form `ENV NAME value` is one pair. */
function parseEnv(line: Line): readonly (readonly [string, string])[] {
  const old = /^([A-Za-z_][A-Za-z0-9_]*)\s+([^=].*)$/s.exec(line.rest);
  if (old !== null) return [[old[1] ?? '', old[2] ?? '']];
  const pairs: (readonly [string, string])[] = [];
  const pattern = /\s*([A-Za-z_][A-Za-z0-9_]*)=("(?:[^"\\]|\\.)*"|'[^']*'|(?:[^\s\\"']|\\.)*)(?=\s|$)/sy;
  while (pattern.lastIndex < line.rest.length) {
    const at = pattern.lastIndex;
    const match = pattern.exec(line.rest);
    if (match === null)
      throw recipeError(
        { ...line.restAt, column: line.restAt.column + at },
        'ENV takes NAME=value; a value with spaces is quoted',
      );
    pairs.push([match[1] ?? '', unquote(match[2] ?? '')]);
  }
  return pairs;
}

function unquote(text: string): string {
  if (text.startsWith("'")) return text.slice(1, -1);
  const inner = text.startsWith('"') ? text.slice(1, -1) : text;
  return inner.replaceAll(/\\(.)/gs, (all, char: string) => (char === '$' ? all : char));
}

/** Puts variables of earlier ENV lines in: `$NAME`, `${NAME}`; `\$` is a dollar. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(
    /\\\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$([A-Za-z_][A-Za-z0-9_]*)/g,
    (all, braced, bare) => {
      if (all === String.raw`\$`) return '$';
      const name = String(braced ?? bare);
      return Object.hasOwn(env, name) ? (env[name] ?? '') : '';
    },
  );
}
