import { lstatSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { isGloveboxError } from '../base/errors.ts';
import type { Plan } from '../drivers/contract.ts';
import { makeTemplate, type MachineTemplate, type TemplateInput } from '../drivers/qemu/index.ts';
import type { MachineCache } from '../machine/cache/cache.ts';
import type { MachineLease } from '../machine/cache/leases.ts';
import type { OnProgress } from '../machine/contract.ts';

export interface TemplateRequest {
  readonly cache: MachineCache;
  /** The template stays while it lives. */
  readonly lease: MachineLease;
  readonly machine: TemplateInput;
  /** Machines of two tiers boot different files. */
  readonly tier: Plan['tier'];
  /** Its `templateKey`. */
  readonly key: string;
  /** What of the machine's base a newer template replaces an older one for. */
  readonly base: string;
  readonly env: NodeJS.ProcessEnv;
  readonly progress: OnProgress;
}

/** What could not be made is not tried again for so long, in ms: each attempt boots a machine. */
const AGAIN_MS = 3600_000;

/**
 * What a machine of this shape goes on from, made now when there is none. Undefined where there can be none, and it has to boot:
 * `GLOVEBOX_VM_TEMPLATE=off`, a QEMU that cannot save it, a cache without room.
 */
export async function templateFor(request: TemplateRequest): Promise<MachineTemplate | undefined> {
  const { cache, lease, machine, key, progress } = request;
  if (request.env['GLOVEBOX_VM_TEMPLATE'] === 'off') return undefined;
  const failure = path.join(cache.memoDir, `no-template-${key.slice(0, 32)}`);
  const known = failedBefore(failure);
  if (known !== undefined) return withoutTemplate(known, progress);
  try {
    const wanted = { kind: 'template', key, slot: slotOf(request), unread: true } as const;
    return await cache.ensure(wanted, lease, (file) => makeTemplate(machine, file, progress));
  } catch (error) {
    const why = reasonOf(error);
    remember(failure, why);
    return withoutTemplate(why, progress);
  }
}

function withoutTemplate(why: string, progress: OnProgress): undefined {
  progress(`the machine boots, which takes longer: ${why}`);
}

/** Of each shape the newest is enough. */
function slotOf({ machine, tier, base }: TemplateRequest): string {
  const { accelerator, memoryBytes, cpus, shares, files = false } = machine;
  const ways = [...shares, ...(files ? ['files'] : [])].join('+');
  return ['template', tier, accelerator, memoryBytes, cpus, ways, base].join(' ');
}

/** One line: of what a console said, the last. */
export function reasonOf(error: unknown): string {
  if (!isGloveboxError(error)) return error instanceof Error ? error.message : String(error);
  const why = error.why?.split('\n').at(-1)?.slice(0, REASON_CHARS);
  return why === undefined ? error.what : `${error.what}: ${why}`;
}

const REASON_CHARS = 200;

function failedBefore(file: string): string | undefined {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined || Math.abs(Date.now() - stat.mtimeMs) > AGAIN_MS) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

function remember(file: string, why: string): void {
  try {
    writeFileSync(file, why, { mode: 0o600 });
  } catch {
    // It is tried again the next time.
  }
}
