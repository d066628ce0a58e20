import { lstatSync, readFileSync, readdirSync, readlinkSync, statSync, type Stats } from 'node:fs';
import path from 'node:path';
import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import { ENV_NAME } from '../policy/environment-names.ts';
import type { Mount } from './contract.ts';
import { realPath } from './facts.ts';
import { DEBIAN_BUNDLE, JAVA_STORE, type ImageFacts, type SystemFact, type ViewFacts } from './view.ts';

/** A base system other than the host's, as the plan sees it. */
export interface ImageBaseInput {
  /** Absolute and real. */
  readonly root: string;
  /** For `explain`. */
  readonly label: string;
  /** `NAME=value`. */
  readonly env: readonly string[];
  /** Finds where a path inside really lies, as if `root` were `/`; undefined where nothing is. */
  readonly resolve: (inside: string) => string | undefined;
}

/** Assembled whatever the image holds: pieces of it, and files of our own. */
const ETC = '/etc';
/** Made by the kernel, or ours. */
const LEFT_OUT = new Set(['/proc', '/sys', '/dev', '/tmp', '/.glovebox']);
/** Hashes of passwords, and files that only their writers need. */
const ETC_LEFT_OUT = /^\/etc\/(?:shadow|gshadow|passwd|group|subuid|subgid)-?$/;
const REASON = 'the base system';

/** True for what no sandbox gets of an image. */
export function leftOutOfImages(inside: string): boolean {
  return LEFT_OUT.has(inside) || ETC_LEFT_OUT.test(inside);
}

/** Where something will be mounted later, and what it needs there. */
interface Target {
  readonly path: string;
  readonly type: 'dir' | 'file';
  /** It may turn out not to be mounted. */
  readonly optional: boolean;
}

/**
 * The facts of a view that stands on an image. Each top-level entry is bound read-only as it is, unless something is mounted below it
 * at a place that the image does not have: bubblewrap would make that place in the image. Such a directory is assembled from its
 * children instead, and so is /etc. No symlink of the image is ever followed on the host.
 *
 * `overlays` are the mounts that come later.
 */
export function imageViewFacts(view: ViewFacts, base: ImageBaseInput, overlays: readonly Mount[]): ViewFacts {
  const trust = imageTrust(base);
  const targets = overlays.flatMap(targetOf);
  if (trust.host !== undefined) targets.push({ path: DEBIAN_BUNDLE, type: 'file', optional: false });
  const facts: SystemFact[] = [];
  assemble({ base, targets, facts }, '/');
  return {
    ...view,
    system: facts,
    trust: { bundle: trust.host !== undefined || trust.own, java: trust.java },
    image: imageFacts(base, trust.host),
  };
}

function targetOf(mount: Mount): readonly Target[] {
  const { kind, target } = mount;
  // Directories of a plan are parents of other mounts.
  if (kind === 'symlink' || kind === 'dir') return [];
  if (kind === 'bind') return [{ path: target, type: isDir(mount.source) ? 'dir' : 'file', optional: false }];
  if (kind === 'hidden') return [{ path: target, type: mount.type, optional: false }];
  const made = kind === 'made' && mount.what !== 'review-copy';
  return [{ path: target, type: kind === 'file' || made ? 'file' : 'dir', optional: made }];
}

function isDir(source: string): boolean {
  return statSync(source, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

interface Assembling {
  readonly base: ImageBaseInput;
  readonly targets: readonly Target[];
  readonly facts: SystemFact[];
}

function assemble(work: Assembling, dir: string): void {
  for (const name of readdirSync(hostPath(work.base, dir)).sort()) {
    // Names that are not UTF-8 come with the replacement character, and nothing in a base system needs them.
    if (name.includes('\uFFFD')) continue;
    addEntry(work, dir === '/' ? `/${name}` : `${dir}/${name}`);
  }
  // A place for a target below something that is no directory of the image is made where it is mounted.
}

function addEntry(work: Assembling, inside: string): void {
  const { base, targets, facts } = work;
  if (leftOutOfImages(inside)) return;
  const stat = statInside(base, inside);
  if (stat === undefined) return;
  const exact = targets.find((target) => target.path === inside);
  if (exact !== undefined && !(exact.optional && stat.isFile())) return;
  if (facts.length >= CAPS.imageAssembled) throw tooMany(base, inside);
  const below = targets.filter((target) => target.path !== inside && isWithin(target.path, inside));
  const whole = inside !== ETC && below.every((target) => hasPlace(base, target));
  if (below.length > 0 && !whole) {
    facts.push({
      path: inside,
      source: hostPath(base, inside),
      why: 'assembled: something is mounted below',
      dir: true,
    });
    if (stat.isDirectory()) assemble(work, inside);
    return;
  }
  facts.push(...entryFact(base, inside, stat));
}

function entryFact(base: ImageBaseInput, inside: string, stat: Stats): readonly SystemFact[] {
  const why = REASON;
  if (!stat.isSymbolicLink())
    return stat.isDirectory() || stat.isFile() ? [{ path: inside, source: hostPath(base, inside), why }] : [];
  if (!isWithin(inside, ETC))
    return [{ path: inside, link: readlinkSync(hostPath(base, inside)), source: inside, why }];
  // The airlock assembles files and directories: what the link leads to inside the image stands in its place.
  const source = base.resolve(inside);
  const real = source === undefined ? undefined : lstatSync(source, { throwIfNoEntry: false });
  return source !== undefined && (real?.isFile() === true || real?.isDirectory() === true)
    ? [{ path: inside, source, why }]
    : [];
}

/** True when the image has the place itself, and no symlink leads there. */
function hasPlace(base: ImageBaseInput, target: Target): boolean {
  const parts = target.path.split('/').slice(1);
  for (let i = 1; i < parts.length; i++) {
    if (statInside(base, `/${parts.slice(0, i).join('/')}`)?.isDirectory() !== true) return false;
  }
  const stat = statInside(base, target.path);
  return target.type === 'dir' ? stat?.isDirectory() === true : stat?.isFile() === true;
}

const hostPath = (base: ImageBaseInput, inside: string): string => path.join(base.root, inside);

function statInside(base: ImageBaseInput, inside: string): Stats | undefined {
  try {
    return lstatSync(hostPath(base, inside), { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

function tooMany(base: ImageBaseInput, inside: string): GloveboxError {
  return new GloveboxError('E_IMAGE_TOO_LARGE', {
    what: `${base.label} has more than ${CAPS.imageAssembled} entries where something has to be mounted`,
    why: printablePath(path.dirname(inside)),
    next: 'Use a workspace at a path that the image has, or an image with fewer files there.',
  });
}

interface ImageTrust {
  /** The host's bundle of certificate authorities: it stands over the image's. */
  readonly host?: string;
  readonly own: boolean;
  readonly java: boolean;
}

function imageTrust(base: ImageBaseInput): ImageTrust {
  const host = realPath(DEBIAN_BUNDLE);
  const isFile = (inside: string): boolean => statInside(base, inside)?.isFile() === true;
  return { ...(host === undefined ? {} : { host }), own: isFile(DEBIAN_BUNDLE), java: isFile(JAVA_STORE) };
}

function imageFacts(base: ImageBaseInput, bundle: string | undefined): ImageFacts {
  return {
    label: base.label,
    env: imageEnv(base.env),
    shell: base.resolve('/bin/bash') === undefined ? '/bin/sh' : '/bin/bash',
    passwd: accountLines(base, '/etc/passwd', 7),
    group: accountLines(base, '/etc/group', 4),
    ...(bundle === undefined ? {} : { bundle }),
  };
}

function imageEnv(lines: readonly string[]): Readonly<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const line of lines) {
    const equals = line.indexOf('=');
    const name = line.slice(0, Math.max(0, equals));
    if (ENV_NAME.test(name) && !line.includes('\0')) env[name] = line.slice(equals + 1);
  }
  return env;
}

/** Larger files of accounts are a trick, or of a machine and not of an image. */
const ACCOUNT_BYTES = 64 * 1024;

/** Accounts that programs of the image look up: well-formed lines, whose password field says nothing. */
function accountLines(base: ImageBaseInput, inside: string, fields: number): readonly string[] {
  const source = base.resolve(inside);
  const stat = source === undefined ? undefined : lstatSync(source, { throwIfNoEntry: false });
  if (source === undefined || stat?.isFile() !== true || stat.size > ACCOUNT_BYTES) return [];
  return readFileSync(source, 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .filter((parts) => parts.length === fields && /^[A-Za-z_][A-Za-z0-9._-]{0,31}$/.test(parts[0] ?? ''))
    .map(([name, , ...rest]) => [name, 'x', ...rest].join(':'));
}
