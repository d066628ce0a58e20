import type { AssembledEntry, ScratchFile } from '../../agent/contract.ts';
import { isWithin } from '../../base/path-bytes.ts';
import type { Mount, Plan } from '../contract.ts';
import { partsOfView } from '../view-parts.ts';

/**
 * The directory of the base system that consists of many small pieces. The airlock puts it together, and bubblewrap binds it
 * once: bubblewrap reads and compares the whole mount table again for each bind.
 */
export const ASSEMBLED = '/etc';

/** A view, cut into what the airlock puts together and what bubblewrap mounts. */
export interface Assembly {
  readonly files: readonly ScratchFile[];
  readonly entries: readonly AssembledEntry[];
  /** In order. The assembled directory is its `dir`; it comes after /dev, because each bind before it is then cheaper. */
  readonly mounts: readonly Mount[];
}

/** Cuts a plan's view. Pure. */
export function assemble(plan: Plan): Assembly {
  // A tree of the policy carries masks and may be writable: bubblewrap mounts it over its place, as elsewhere.
  const { base } = partsOfView(plan.view);
  const own = new Set(base.filter(isInside));
  return {
    files: [...own].flatMap((mount) =>
      mount.kind === 'file' ? [{ name: nameOf(mount), mode: 0o444, content: mount.content }] : [],
    ),
    entries: plan.view.filter(isInside).flatMap((mount) => entriesOf(mount, own.has(mount))),
    mounts: plan.view
      .filter((mount) => !own.has(mount))
      .flatMap((mount) => (mount.kind === 'dev' ? [mount, ...base.filter(isRoot)] : [mount])),
  };
}

const isRoot = (mount: Mount): boolean => mount.target === ASSEMBLED;
const isInside = (mount: Mount): boolean => isWithin(mount.target, ASSEMBLED);

function entriesOf(mount: Mount, own: boolean): readonly AssembledEntry[] {
  const name = nameOf(mount);
  if (mount.kind === 'dir') return [{ kind: 'dir', name }];
  if (mount.kind === 'bind') return [{ kind: own ? 'take' : 'point', name, source: mount.source }];
  // The pieces of the base system that are files are in the scratch already; what comes later covers an empty file.
  return own ? [] : [{ kind: 'point', name, source: '/dev/null' }];
}

/** Below the scratch directory, as below the root. */
const nameOf = (mount: Mount): string => mount.target.slice(1);
