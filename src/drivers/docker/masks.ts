import path from 'node:path';
import type { PlaceholderResult, VerifyMask } from '../../agent/contract.ts';
import { pathToBytes, printablePath } from '../../base/path-bytes.ts';
import type { Mask, Plan } from '../contract.ts';
import { shownMasks, type ShownMask } from '../masks.ts';
import { bind, COVER, refuseOddPath, unsupported, type EngineMount } from './view.ts';

/** A mask as an engine mounts it, and what the agent has to find there. */
export interface MaskMount {
  readonly mount: EngineMount;
  readonly verify: VerifyMask;
}

/** How a mask looks inside. */
type Shape =
  | { readonly kind: 'cover'; readonly name: string; readonly verify: VerifyMask['kind'] }
  | { readonly kind: 'self'; readonly writable: boolean; readonly verify: VerifyMask['kind'] };

export interface MaskInput {
  readonly plan: Plan;
  /** Of each placeholder, by index into the plan's masks. */
  readonly placeholders: ReadonlyMap<number, PlaceholderResult>;
  /** The sandbox's private directory, with the covers. */
  readonly own: string;
  /** Type of what is at a path of the host, undefined where nothing is. */
  readonly typeOf: (path: string) => 'file' | 'dir' | 'symlink' | 'other' | undefined;
}

/**
 * The plan's masks as mounts on top of its trees. A tree that is bound read-only holds its own pins and frozen files: nothing in it can
 * be written, renamed or removed. Pure.
 *
 * @throws E_UNSUPPORTED for what an engine cannot mount; nothing is left out quietly
 */
export function maskMounts(input: MaskInput): readonly MaskMount[] {
  const { plan, placeholders } = input;
  const results = new Map(plan.masks.map((mask, index) => [mask, placeholders.get(index)]));
  const absent = new Set<string>();
  for (const [mask, result] of results) {
    if (result === 'blocked')
      throw unsupported(
        `the rule about ${printablePath(mask.path)}`,
        'something that is no directory stands above it, and would have to be held in its place',
      );
    if (result === 'skipped') absent.add(mask.path);
  }
  return shownMasks(plan, absent).flatMap((shown) => maskMount(shown, results.get(shown.mask), input));
}

function maskMount(
  { mask, path: target, writable }: ShownMask,
  result: PlaceholderResult | undefined,
  { own, typeOf }: MaskInput,
): readonly MaskMount[] {
  const type = typeOf(mask.path);
  if (mask.kind === 'pin' && type === undefined) return [];
  const shape = shapeOf(mask, result, type);
  const held = !writable && shape.kind === 'self';
  if (held) return [];
  refuseOddPath(mask.path);
  // An engine follows links, at either end of a mount.
  if (type === 'symlink')
    throw unsupported(
      `the symbolic link ${printablePath(mask.path)} in its place`,
      'it would follow the link',
    );
  const source = shape.kind === 'self' ? mask.path : path.join(own, shape.name);
  return [
    {
      mount: bind(source, target, shape.kind === 'self' && shape.writable),
      verify: { kind: shape.verify, path: pathToBytes(target) },
    },
  ];
}

function shapeOf(
  mask: Mask,
  result: PlaceholderResult | undefined,
  type: ReturnType<MaskInput['typeOf']>,
): Shape {
  const hidden: Shape = {
    kind: 'cover',
    name: type === 'dir' ? COVER.dir : COVER.file,
    verify: 'hidden',
  };
  const frozen: Shape = { kind: 'self', writable: false, verify: 'readonly' };
  if (mask.kind === 'hide') return hidden;
  if (mask.kind === 'readonly') return frozen;
  if (mask.kind === 'pin') return { kind: 'self', writable: true, verify: 'pinned' };
  if (result === 'real') return mask.deny ? hidden : frozen;
  if (mask.dotFile === true) return { kind: 'self', writable: false, verify: 'placeholder' };
  return { kind: 'cover', name: mask.deny ? COVER.dir : COVER.empty, verify: 'placeholder' };
}
