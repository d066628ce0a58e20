import { discardTrees, TreeLink } from '../agent/tree-link.ts';
import { GloveboxError } from '../base/errors.ts';
import { isWithin, printablePath } from '../base/path-bytes.ts';
import type { Plan } from '../drivers/contract.ts';
import { policyTrees, type CopiedTrees } from '../drivers/qemu/index.ts';
import { roomOf, sendTrees, type SentTree } from '../review/send.ts';
import type { ReviewCopy } from './review-copy.ts';

export interface CopyInput {
  /** With everything that was made for it. */
  readonly plan: Plan;
  /** The copy of the workspace that waits for a person. */
  readonly review: ReviewCopy | undefined;
  /** The workspace goes with the sandbox. */
  readonly isTemporary: boolean;
  /** The policy asks for no review: there is one because nobody serves the workspace. */
  readonly isForced: boolean;
  /** Absent: there is a file server. */
  readonly unserved?: Unserved;
  /** Of the machine. */
  readonly memoryBytes: number;
  readonly notice: (line: string) => void;
}

/** Nobody serves files to the machine. */
export interface Unserved {
  /** `virtiofsd is not installed` */
  readonly why: string;
  /** What to do about it: `Run scripts/setup-vm.sh`. */
  readonly next: string;
}

export const NO_FILE_SERVER: Unserved = {
  why: 'virtiofsd is not installed',
  next: 'Run scripts/setup-vm.sh',
};

const forced = ({ why }: Unserved): string =>
  `${why}: the machine works on a copy of the workspace, and what it changes waits for you`;

type Tree = ReturnType<typeof policyTrees>[number];

const MEBIBYTE = 1024 ** 2;

/** What may be copied in, of a machine's memory, and what a sandbox may make of it. The rest is for its kernel and its programs. */
const SHARE_IN = 1 / 2;
const SHARE_KEPT = 3 / 4;

/**
 * Trees that are copied into the machine: a workspace whose changes wait for a person, and where there is no file server all trees of the policy.
 * Undefined for none.
 *
 * @throws E_REVIEW_TOO_LARGE when its memory has no room for them, E_TIER_UNAVAILABLE for a tree that is to be written to and served by nobody
 */
export function copiedTrees(input: CopyInput): CopiedTrees | undefined {
  const { plan, review, unserved, memoryBytes } = input;
  const trees = policyTrees(plan);
  const own = review === undefined ? undefined : trees.find(({ source }) => source === review.root);
  const wanted = unserved === undefined ? trees.filter((tree) => tree === own) : trees;
  if (wanted.length === 0) return undefined;
  if (unserved !== undefined) refuseWritable(input, { trees: wanted, own, unserved });
  const targets = numbered(wanted, own);
  const sent = wanted.map(({ source, target }): SentTree => {
    return { source, name: String(targets.get(target)), withheld: hiddenBy(plan) };
  });
  const room = roomOf(sent);
  const most = Math.floor(memoryBytes * SHARE_IN);
  if (room > most) {
    if (unserved !== undefined) throw noRoom({ room, memoryBytes, unserved });
    input.notice(`the copy of the workspace is served from the host: ${tooLarge({ room, memoryBytes })}`);
    return undefined;
  }
  if (own !== undefined && input.isForced && unserved !== undefined) input.notice(forced(unserved));
  const link = own === undefined || review === undefined ? new TreeLink(discardTrees) : review.inMachine();
  const start: CopiedTrees['start'] = (port) => link.start(port, sendTrees(sent));
  return { targets, bytes: Math.floor(memoryBytes * SHARE_KEPT), start, leaving: link.leaving };
}

/** Number 0 comes back; without one nothing does. */
function numbered(trees: readonly Tree[], own: Tree | undefined): ReadonlyMap<string, number> {
  const others = trees.filter((tree) => tree !== own);
  const all = own === undefined ? [] : ([[own.target, 0]] as const);
  return new Map([...all, ...others.map(({ target }, index) => [target, index + 1] as const)]);
}

/** What is hidden in other tiers is not copied at all. */
function hiddenBy({ masks }: Plan): (path: string) => boolean {
  const hidden = masks.filter(({ kind, deny }) => kind === 'hide' || (kind === 'placeholder' && deny));
  return (path) => hidden.some((mask) => isWithin(path, mask.path));
}

interface Refusal {
  readonly trees: readonly Tree[];
  readonly own: Tree | undefined;
  readonly unserved: Unserved;
}

/** Nothing comes back of them. */
function refuseWritable({ plan, isTemporary }: CopyInput, { trees, own, unserved }: Refusal): void {
  const isLost = (tree: Tree): boolean =>
    tree.writable && tree !== own && !(isTemporary && tree.target === plan.workspace);
  const lost = trees.find(isLost);
  if (lost === undefined) return;
  throw new GloveboxError('E_TIER_UNAVAILABLE', {
    what: `the vm tier cannot share ${printablePath(lost.target)} with its machine`,
    why: `${unserved.why}: trees are copied into the machine, and only what becomes of the workspace comes back`,
    next: `${unserved.next}, or make it readable only.`,
  });
}

const mebibytes = (bytes: number): number => Math.ceil(bytes / MEBIBYTE);

/** Bytes. */
interface Room {
  readonly room: number;
  readonly memoryBytes: number;
}

const tooLarge = ({ room, memoryBytes }: Room): string =>
  `it takes ${mebibytes(room)} MiB, and a machine of ${mebibytes(memoryBytes)} MiB may hold ${Math.floor((memoryBytes * SHARE_IN) / MEBIBYTE)} of copies`;

function noRoom({ room, memoryBytes, unserved }: Room & { readonly unserved: Unserved }): GloveboxError {
  return new GloveboxError('E_REVIEW_TOO_LARGE', {
    what: 'what the policy shares is too large to be copied into the machine',
    why: `${unserved.why}, and ${tooLarge({ room, memoryBytes })}`,
    next: `${unserved.next}, allow limits.memory of ${mebibytes(room / SHARE_IN)}MiB, or deny what is not needed inside.`,
  });
}
