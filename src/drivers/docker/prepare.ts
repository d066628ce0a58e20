import { chmodSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fsPath } from '../../base/path-bytes.ts';
import { ensurePrivateDir } from '../../base/paths.ts';
import type { Plan } from '../contract.ts';
import { isGuestKernel } from './args.ts';
import { ask, lastLine, type EngineClient } from './client.ts';
import { hintFor } from './hints.ts';
import type { MaskInput } from './masks.ts';
import { ownOwnership, ownershipLabels, privateName, removePrivate, sweepDead } from './ownership.ts';
import { engineFacts, unavailable, type EngineFacts } from './probe.ts';
import { rootImage, type RootImage } from './root-image.ts';
import { profileText } from './seccomp.ts';
import { COVER, engineView, type EngineView } from './view.ts';

export interface PrepareInput {
  readonly client: EngineClient;
  readonly id: string;
  readonly plan: Plan;
  /** Where private directories stand. */
  readonly directory: string;
  readonly runtime?: string;
  readonly apparmor?: string;
}

/** What stands before the container is started. */
export interface PreparedEngine {
  readonly facts: EngineFacts;
  readonly view: EngineView;
  readonly image: string;
  /** The sandbox's private directory. */
  readonly own: string;
  readonly seccomp: string;
  readonly cidfile: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Where the private directory of a sandbox stands. */
export function privateDirectory({ directory, id }: Pick<PrepareInput, 'directory' | 'id'>): string {
  return path.join(directory, privateName(id, ownOwnership()));
}

/**
 * Asks the engine what it is, sweeps what dead launchers left, and makes what the container will be started with.
 *
 * @throws E_TIER_UNAVAILABLE, E_UNSUPPORTED, E_IO
 */
export async function prepareEngine(input: PrepareInput): Promise<PreparedEngine> {
  const { client, plan, id } = input;
  ensurePrivateDir(input.directory);
  const own = privateDirectory(input);
  const view = engineView(plan.view, own);
  const root = rootImage(view.root);
  const [facts] = await Promise.all([
    engineFacts(client),
    ensureImage(client, root),
    sweepDead(client, input.directory),
  ]);
  refuseWeak(input, facts);
  const seccomp = path.join(own, 'seccomp.json');
  writePrivate(own, view, { name: seccomp, text: profileText({ arch: arch(), ...plan.syscalls }) });
  const labels = ownershipLabels(id, ownOwnership());
  return { facts, view, image: root.name, own, seccomp, cidfile: path.join(own, 'cid'), labels };
}

const arch = (): 'x64' | 'arm64' => (process.arch === 'arm64' ? 'arm64' : 'x64');

/** A wall that the engine does not have here is none. */
function refuseWeak({ client, plan, runtime, apparmor }: PrepareInput, facts: EngineFacts): void {
  const { engine } = client;
  if (!facts.seccomp && !isGuestKernel(runtime)) throw unavailable(engine, 'its host has no seccomp');
  if (apparmor !== undefined && !facts.apparmor)
    throw unavailable(
      engine,
      `it has no AppArmor for the profile ${apparmor}`,
      'Unset GLOVEBOX_ENGINE_APPARMOR, or use a host that has it.',
    );
  if (runtime !== undefined && facts.runtimes.length > 0 && !facts.runtimes.includes(runtime))
    throw unavailable(
      engine,
      `it has no runtime ${runtime}; it has ${facts.runtimes.join(', ')}`,
      `Add it to "runtimes" in the engine's configuration, with the argument --host-uds=open.`,
    );
  const { memoryBytes, pids, cpu } = plan.limits;
  if (!facts.cgroups && [memoryBytes, pids, cpu].some((limit) => limit !== undefined))
    throw unavailable(
      engine,
      'it cannot limit memory and processes here',
      'Use a machine with cgroup v2 that delegates memory and pids to this user (systemd: Delegate=yes), or lift the limits: --memory unlimited --pids unlimited --cpu unlimited.',
    );
}

/** The same entries are the same image: it is made once for an engine. @throws E_TIER_UNAVAILABLE */
async function ensureImage(client: EngineClient, image: RootImage): Promise<void> {
  const found = await ask(client, ['image', 'inspect', '--format', '{{.Id}}', image.name]);
  if (found.code === 0) return;
  const made = await ask(client, ['import', '-', image.name], image.archive);
  if (made.code === 0) return;
  const why = lastLine(made.err) || 'it took no image';
  throw unavailable(client.engine, why, hintFor(client, why));
}

function writePrivate(
  own: string,
  view: EngineView,
  profile: { readonly name: string; readonly text: string },
): void {
  removePrivate(own);
  mkdirSync(own, { mode: 0o700 });
  for (const { name, content } of view.files) writeMode(path.join(own, name), content, 0o444);
  writeMode(path.join(own, COVER.file), '', 0);
  for (const [name, mode] of [
    [COVER.dir, 0],
    [COVER.empty, 0o555],
  ] as const) {
    mkdirSync(path.join(own, name));
    chmodSync(path.join(own, name), mode);
  }
  writeMode(profile.name, profile.text, 0o400);
}

function writeMode(file: string, content: string | Uint8Array, mode: number): void {
  writeFileSync(file, content, { flag: 'wx' });
  chmodSync(file, mode);
}

/** What is at a path of the host; no link is followed. */
export const typeOf: MaskInput['typeOf'] = (name) => {
  const stat = lstatSync(fsPath(name), { throwIfNoEntry: false });
  if (stat === undefined) return undefined;
  if (stat.isSymbolicLink()) return 'symlink';
  return stat.isDirectory() ? 'dir' : stat.isFile() ? 'file' : 'other';
};
