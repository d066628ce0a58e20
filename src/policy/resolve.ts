import path from 'node:path';
import { canonicalHash } from '../base/canonical-json.ts';
import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import { gloveboxDirs } from '../base/paths.ts';
import { packageRoot } from '../base/version.ts';
import { applyCeiling, ceilingError, originPlace, withDriverOfTier } from './ceiling.ts';
import { commandLineFragment } from './command-line.ts';
import type { CommandLineLayer, LayerInfo, LayerName, PolicyContext, ResolvedPolicy } from './contract.ts';
import { inputState, type Input } from './inputs.ts';
import { readSmallFile, type FileBytes } from './files.ts';
import { freeze } from './freeze.ts';
import type { Fragment } from './layer-types.ts';
import { readLayer, readProfile, type LayerReader } from './layers.ts';
import { mergePolicy } from './merge.ts';
import { checkReferences } from './references.ts';
import { findProjectFile, hasSecondProjectFile, PROJECT_FILES, type ProjectFile } from './project-file.ts';
import { DEFAULT_PROFILE, profileDir } from './profiles.ts';
import { readTrust, trustFile } from './trust.ts';
import { filterProject, type Widening } from './widenings.ts';
import { checkWorkspace, type Workspace } from './workspace.ts';

/** Which part of a project policy counts: what its trust says, nothing, or all of it (to show what trusting would mean). */
export type ProjectUse = 'trusted' | 'none' | { readonly all: FileBytes };

/** A resolution with everything that it was made from. */
export interface Resolution {
  readonly resolved: ResolvedPolicy;
  readonly workspace: Workspace;
  /** Files whose change makes the result stale. */
  readonly inputs: readonly Input[];
  /** What the project policy widens, accepted or not. */
  readonly widenings: readonly Widening[];
}

/**
 * Reads all layers and merges them.
 *
 * @throws E_POLICY_INVALID, E_POLICY_CEILING, E_POLICY_NOT_FOUND, E_PROFILE_UNKNOWN, E_WORKSPACE_INVALID, E_IO
 */
export function resolvePolicy(context: PolicyContext, commandLine: CommandLineLayer): ResolvedPolicy {
  return resolveInFull(context, commandLine, 'trusted').resolved;
}

/** As `resolvePolicy`, with the inputs for the cache and the widenings for `policy trust`. */
export function resolveInFull(
  context: PolicyContext,
  commandLine: CommandLineLayer,
  use: ProjectUse,
): Resolution {
  const files = readFiles(context, commandLine);
  const workspace = findWorkspace(context, commandLine, files);
  const run: Run = {
    context,
    commandLine,
    files,
    workspace,
    use,
    inputs: startInputs(files),
    notices: [],
    widenings: [],
  };
  if (workspace.named !== workspace.real)
    run.notices.push(
      `the workspace ${printablePath(workspace.named)} is really ${printablePath(workspace.real)}`,
    );
  if (isWithin(packageRoot(), workspace.real))
    run.notices.push(
      'this copy of Glovebox lies in the workspace: what the sandbox changes in it runs outside next time',
    );
  const layers = readLayers(run);
  const own = ownDirs(context);
  const ceiling = applyCeiling(layers.organisation, layers.below);
  const fragments = [...layers.organisation, ...ceiling.fragments];
  checkReferences(fragments, { all: own, runtime: gloveboxDirs(context.env).runtime });
  const merged = mergePolicy({
    fragments,
    workspace: workspace.real,
    home: context.home,
    own,
    layers: layers.infos,
  });
  const policy = freeze(merged.policy);
  const notices = [...run.notices, ...ceiling.notices, ...merged.notices];
  return {
    resolved: freeze({ policy, hash: canonicalHash(policy), notices }),
    workspace,
    inputs: run.inputs,
    widenings: run.widenings,
  };
}

interface LayerFiles {
  readonly organisation: SlotFile;
  readonly user: SlotFile;
  readonly commandLine?: SlotFile;
}

interface SlotFile {
  readonly path: string;
  readonly file: FileBytes | undefined;
}

interface Run {
  readonly context: PolicyContext;
  readonly commandLine: CommandLineLayer;
  readonly files: LayerFiles;
  readonly workspace: Workspace;
  readonly use: ProjectUse;
  readonly inputs: Input[];
  readonly notices: string[];
  readonly widenings: Widening[];
}

/** The user's policy file. */
export function userPolicyFile(context: PolicyContext): string {
  return path.join(context.configDir, 'policy.yaml');
}

function readFiles(context: PolicyContext, commandLine: CommandLineLayer): LayerFiles {
  const slot = (target: string): SlotFile => ({ path: target, file: readSmallFile(target, 'own') });
  const { policyFile } = commandLine;
  const named = policyFile === undefined ? undefined : slot(path.resolve(context.cwd, policyFile));
  if (named !== undefined && named.file === undefined) {
    throw new GloveboxError('E_POLICY_NOT_FOUND', {
      what: `there is no policy file ${printablePath(named.path)}`,
      context: { file: named.path },
    });
  }
  return {
    organisation: slot(context.organisationFile),
    user: slot(userPolicyFile(context)),
    ...(named === undefined ? {} : { commandLine: named }),
  };
}

function startInputs(files: LayerFiles): Input[] {
  const slots = [
    files.organisation,
    files.user,
    ...(files.commandLine === undefined ? [] : [files.commandLine]),
  ];
  return slots.map((slot): Input => ({ path: slot.path, kind: 'own', state: slot.file?.sha256 ?? 'absent' }));
}

/** The command line names the workspace, else a file of the person at the keyboard, else the current directory. */
function findWorkspace(context: PolicyContext, commandLine: CommandLineLayer, files: LayerFiles): Workspace {
  if (commandLine.workspace !== undefined)
    return checkWorkspace(expandHome(commandLine.workspace, context.home), context);
  // Paths of a policy start at the workspace, which a policy may name: a first reading looks for that name alone.
  const slots = [files.user, files.commandLine].flatMap((slot) =>
    slot?.file === undefined ? [] : [slot.file],
  );
  const named = slots
    .flatMap((file) => readLayer(newReader(context, context.cwd), file, 'user'))
    .map((fragment) => fragment.workspace?.value)
    .findLast((name) => name !== undefined);
  return checkWorkspace(expandHome(named ?? '.', context.home), context);
}

function expandHome(text: string, home: string): string {
  return text === '~' || text.startsWith('~/') ? path.join(home, text.slice(1)) : text;
}

function newReader(context: PolicyContext, base: string): LayerReader {
  return { from: { home: context.home, base }, profiles: new Set(), files: new Map() };
}

interface Layers {
  readonly organisation: readonly Fragment[];
  /** Base, user, project, command line: in order of growing weight. */
  readonly below: readonly Fragment[];
  readonly infos: readonly LayerInfo[];
}

function readLayers(run: Run): Layers {
  const { context, commandLine, files, workspace } = run;
  const ceilingReader = newReader(context, workspace.real);
  const organisation =
    files.organisation.file === undefined
      ? []
      : withDriverOfTier(readLayer(ceilingReader, files.organisation.file, 'organisation'));
  checkWorkspaceRoot(organisation, run);
  const reader = newReader(context, workspace.real);
  const user = files.user.file === undefined ? [] : readLayer(reader, files.user.file, 'user');
  const named =
    files.commandLine?.file === undefined ? [] : readLayer(reader, files.commandLine.file, 'command-line');
  const profiles = (commandLine.profiles ?? []).flatMap((name) =>
    readProfile(reader, name.replace(/^profile:/, ''), 'command-line'),
  );
  const base = reader.profiles.size === 0 ? readProfile(reader, DEFAULT_PROFILE, 'built-in') : [];
  const project = readProject(run, reader, byWeight([...base, ...user, ...named, ...profiles]));
  const options = commandLineFragment(commandLine, { home: context.home, base: context.cwd });
  for (const [file, hash] of [...ceilingReader.files, ...reader.files])
    run.inputs.push({ path: file, kind: isWithin(file, profileDir()) ? 'package' : 'own', state: hash });
  return {
    organisation,
    below: byWeight([...base, ...user, ...project.fragments, ...named, ...profiles, options]),
    infos: [
      slotInfo('organisation', files.organisation),
      slotInfo('user', files.user),
      project.info,
      files.commandLine === undefined
        ? { layer: 'command-line', state: 'used' }
        : slotInfo('command-line', files.commandLine),
    ],
  };
}

/** Built-in profiles weigh least, whoever names them: what a person wrote in a file is never changed by adding a profile. */
function byWeight(fragments: readonly Fragment[]): readonly Fragment[] {
  const isProfile = (fragment: Fragment): boolean => fragment.profile !== undefined;
  return [...fragments.filter(isProfile), ...fragments.filter((fragment) => !isProfile(fragment))];
}

function slotInfo(layer: LayerName, slot: SlotFile): LayerInfo {
  if (slot.file === undefined) return { layer, file: slot.path, state: 'absent' };
  return { layer, file: slot.path, sha256: slot.file.sha256, state: 'used' };
}

/** In the organisation policy `filesystem.workspace` is the tree that every workspace must lie in. */
function checkWorkspaceRoot(organisation: readonly Fragment[], run: Run): void {
  const root = organisation.findLast((fragment) => fragment.workspace !== undefined)?.workspace;
  if (root === undefined) return;
  const tree = path.resolve('/', expandHome(root.value, run.context.home));
  if (isWithin(run.workspace.real, tree)) return;
  const limit = originPlace(root.origin, '');
  throw ceilingError([
    {
      asked: `the workspace ${printablePath(run.workspace.real)}`,
      limit,
      what: `workspaces lie in ${printablePath(tree)}`,
    },
  ]);
}

interface ProjectLayer {
  readonly fragments: readonly Fragment[];
  readonly info: LayerInfo;
}

function readProject(run: Run, reader: LayerReader, mine: readonly Fragment[]): ProjectLayer {
  const { commandLine, workspace, use } = run;
  // A policy named on the command line takes the place of the one that lies in the project.
  if (commandLine.policyFile !== undefined || use === 'none')
    return { fragments: [], info: { layer: 'project', state: 'absent' } };
  if (typeof use === 'object') return useProject(run, reader, mine, { file: use.all, accept: () => true });
  const found = findProjectFile(workspace.real);
  for (const name of PROJECT_FILES) run.inputs.push(projectInput(path.join(workspace.real, name), found));
  if (found === undefined) return { fragments: [], info: { layer: 'project', state: 'absent' } };
  if (hasSecondProjectFile(workspace.real, found.path))
    run.notices.push(`${printablePath(found.path)} counts, the other project policy does not`);
  run.inputs.push(inputState(trustFile(run.context.stateDir, found.path), 'private'));
  return useTrusted(run, reader, mine, found);
}

/** The state that was judged, not what stands there a moment later. */
function projectInput(target: string, found: ProjectFile | undefined): Input {
  if (target !== found?.path) return inputState(target, 'foreign');
  return { path: target, kind: 'foreign', state: found.file?.sha256 ?? 'unusable' };
}

function useTrusted(
  run: Run,
  reader: LayerReader,
  mine: readonly Fragment[],
  found: ProjectFile,
): ProjectLayer {
  const place = printablePath(found.path);
  const info: LayerInfo = {
    layer: 'project',
    file: found.path,
    ...(found.file === undefined ? {} : { sha256: found.file.sha256 }),
    state: 'untrusted',
  };
  if (found.file === undefined) {
    run.notices.push(`${place} is left out: ${found.unusable ?? 'it cannot be read'}`);
    return { fragments: [], info };
  }
  const trust = readTrust(run.context.stateDir, found.path);
  if (trust?.sha256 !== found.file.sha256) {
    const why = trust === undefined ? 'it is not trusted' : 'it changed since you trusted it';
    run.notices.push(`${place} is left out: ${why}; read it, then run \`glovebox policy trust\``);
    return { fragments: [], info };
  }
  const accepted = new Set(trust.accepted);
  return useProject(run, reader, mine, { file: found.file, accept: (key) => accepted.has(key) });
}

function useProject(
  run: Run,
  reader: LayerReader,
  mine: readonly Fragment[],
  facts: { readonly file: FileBytes; readonly accept: (key: string) => boolean },
): ProjectLayer {
  const refused: Widening[] = [];
  const accept = (widening: Widening): boolean => {
    run.widenings.push(widening);
    if (facts.accept(widening.key)) return true;
    refused.push(widening);
    return false;
  };
  const fragments = filterProject(readLayer(reader, facts.file, 'project'), mine, {
    workspace: run.workspace.real,
    accept,
  });
  if (refused.length > 0) {
    const first = refused[0];
    run.notices.push(
      `${printablePath(facts.file.path)} widens what you did not accept, which is left out: ${first?.text}${refused.length > 1 ? ` and ${refused.length - 1} more` : ''}; see \`glovebox policy trust\``,
    );
  }
  return {
    fragments,
    info: { layer: 'project', file: facts.file.path, sha256: facts.file.sha256, state: 'used' },
  };
}

function ownDirs(context: PolicyContext): readonly string[] {
  const { configDir, stateDir, cacheDir, env } = context;
  return [...new Set([configDir, stateDir, cacheDir, gloveboxDirs(env).runtime])];
}
