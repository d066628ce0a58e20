import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { GloveboxError, type SourcePosition } from '../base/errors.ts';
import type { LayerName } from './contract.ts';
import { readSmallFile, type FileBytes } from './files.ts';
import { buildFragment } from './fragment.ts';
import type { Fragment } from './layer-types.ts';
import { parsePolicyFile, type ParsedFile } from './parse.ts';
import type { PathBase } from './path-text.ts';
import { problemsError, quoteValue, type PolicyProblem } from './problems.ts';
import { profileFile } from './profiles.ts';
import { checkDocument, isProblems } from './schema-errors.ts';
import type { PolicyDocument } from './schema.ts';

/** One resolution: what was read on the way, and which profiles are in already. */
export interface LayerReader {
  readonly from: PathBase;
  /** Profiles that took part; each counts once, where it was named first. */
  readonly profiles: Set<string>;
  /** Files that the result depends on, besides the layers' own. */
  readonly files: Map<string, string>;
}

interface FileSource {
  readonly file: FileBytes;
  readonly layer: LayerName | 'built-in';
  readonly profile?: string;
  /** Names of the files that extend this one, outermost first. */
  readonly chain: readonly string[];
}

/** Fragments of a policy file: what it extends, in order, then its own. */
export function readLayer(reader: LayerReader, file: FileBytes, layer: LayerName): readonly Fragment[] {
  return readSource(reader, { file, layer, chain: [] });
}

/** Fragments of a built-in profile, with what it extends. */
export function readProfile(
  reader: LayerReader,
  name: string,
  layer: LayerName | 'built-in',
  asked?: Asked,
): readonly Fragment[] {
  if (reader.profiles.has(name)) return [];
  reader.profiles.add(name);
  const target = profileFile(name, asked?.position);
  const file = readSmallFile(target, 'package');
  if (file === undefined) throw notFound(target, asked?.position);
  reader.files.set(file.path, file.sha256);
  return readSource(reader, { file, layer, profile: `profile:${name}`, chain: asked?.chain ?? [] });
}

interface Asked {
  readonly position?: SourcePosition;
  readonly chain?: readonly string[];
}

/** The checked document of a file, for callers that want it as it is written. */
export function readDocument(file: FileBytes): { readonly parsed: ParsedFile; readonly doc: PolicyDocument } {
  const parsed = parsePolicyFile(file.path, file.bytes);
  const doc = checkDocument(parsed);
  if (isProblems(doc)) throw problemsError(doc);
  return { parsed, doc };
}

function readSource(reader: LayerReader, source: FileSource): readonly Fragment[] {
  const { parsed, doc } = readDocument(source.file);
  const inherited = [doc.extends ?? []].flat().flatMap((name, i) =>
    readExtends(reader, source, {
      name,
      position: parsed.at(Array.isArray(doc.extends) ? ['extends', i] : ['extends']),
    }),
  );
  const problems: PolicyProblem[] = [];
  const fragment = buildFragment(doc, {
    parsed,
    layer: source.layer,
    ...(source.profile === undefined ? {} : { profile: source.profile }),
    label: labelOf(source),
    from: reader.from,
    problems,
  });
  problems.push(...placeProblems(fragment));
  if (problems.length > 0) throw problemsError(problems);
  return [...inherited, fragment];
}

/** `user`, `user/base.yaml` for a file that it extends, `profile:node`. */
function labelOf(source: FileSource): string {
  if (source.profile !== undefined) return source.profile;
  return source.chain.length === 0 ? source.layer : `${source.layer}/${path.basename(source.file.path)}`;
}

function readExtends(
  reader: LayerReader,
  source: FileSource,
  entry: { readonly name: string; readonly position: SourcePosition },
): readonly Fragment[] {
  const { name, position } = entry;
  const chain = [...source.chain, source.file.path];
  if (name.startsWith('profile:'))
    return readProfile(reader, name.slice('profile:'.length), source.layer, { position, chain });
  const fail = (why: string): never => {
    throw problemsError([
      { position, key: 'extends', found: quoteValue(name), expected: 'a profile such as profile:node', why },
    ]);
  };
  if (!/^(?:\.{1,2}\/|\/|~\/)/.test(name)) return fail('a file begins with "./", "../", "~/" or "/"');
  if (source.layer === 'project')
    return fail('a project policy extends built-in profiles only, so that its hash covers all it says');
  const target = path.resolve(path.dirname(source.file.path), name.replace(/^~(?=\/)/, reader.from.home));
  if (chain.includes(target)) return fail('it extends itself');
  if (chain.length >= CAPS.policyExtendsDepth)
    return fail(`extends is nested more than ${CAPS.policyExtendsDepth} deep`);
  const file = readSmallFile(target, 'own');
  if (file === undefined) throw notFound(target, position);
  reader.files.set(file.path, file.sha256);
  return readSource(reader, { file, layer: source.layer, chain });
}

/** A project's `.` is the project; everywhere else only a person names a workspace. */
function placeProblems(fragment: Fragment): readonly PolicyProblem[] {
  const { workspace, layer } = fragment;
  if (workspace === undefined || layer !== 'project') return [];
  if (workspace.value === '.' || workspace.value === './') return [];
  return [
    {
      ...(workspace.origin.position === undefined ? {} : { position: workspace.origin.position }),
      key: 'filesystem.workspace',
      found: quoteValue(workspace.value),
      expected: '"."',
      why: 'a project policy speaks for its own directory',
    },
  ];
}

function notFound(target: string, position: SourcePosition | undefined): GloveboxError {
  const place = position === undefined ? '' : `${position.file}:${position.line}:${position.column}: `;
  return new GloveboxError('E_POLICY_NOT_FOUND', {
    what: `${place}there is no policy file ${target}`,
    context: { file: target },
  });
}
