import { createHash } from 'node:crypto';
import { lstatSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { HeldMachine } from '../drivers/bubblewrap/driver.ts';
import { planKey, type MachineTemplate, type ToldPlan } from '../drivers/qemu/index.ts';
import type { CacheRequest } from '../machine/cache/cache.ts';
import { reasonOf, type TemplateRequest } from './machine-template.ts';

/** A plan that is not started again within this time gets no template, in ms. */
const SEEN_MS = 24 * 3600_000;

/** Templates with a sandbox in them, which are as large as the memory that it uses: each plan takes the place of an older one. */
const PLACES = 4;

export interface PlanTemplate {
  /** A machine in which the plan's sandbox stands already, and nothing has run in it. */
  readonly template?: MachineTemplate;
  /** Makes one of a machine whose sandbox stands, when the plan is one that is started again. Never throws. */
  save(standing: StandingSandbox): Promise<void>;
}

/** A sandbox that has run nothing yet. */
export interface StandingSandbox {
  readonly machine?: HeldMachine;
  /** Runs what the template is to have run. */
  readonly warmUp: () => Promise<void>;
}

export interface PlanTemplateRequest extends TemplateRequest {
  readonly told: ToldPlan;
}

/**
 * The template of a plan. A sandbox that is started for the first time is not saved: most never come again. The second one is, before it is handed over,
 * which takes it some tenths of a second; what comes after goes on from there.
 */
export async function planTemplateFor(request: PlanTemplateRequest): Promise<PlanTemplate> {
  const { cache, lease, machine, told } = request;
  const key = planKey(request.key, machine, told);
  const slot = `plan ${placeOf(told.plan.workspace)}`;
  const wanted: CacheRequest = { kind: 'template', key, slot, unread: true };
  const found = await cache.find(wanted, lease);
  if (found !== undefined)
    return { template: { ...found, live: true, unused: true }, save: () => Promise.resolve() };
  const seen = path.join(cache.memoDir, `plan-${key.slice(0, 32)}`);
  return { save: (standing) => saveOrRemember(standing, request, { wanted, seen }) };
}

const placeOf = (workspace: string): number =>
  createHash('sha256').update(workspace).digest().readUInt32LE() % PLACES;

interface Place {
  readonly wanted: CacheRequest;
  /** The file that says that the plan was started before. */
  readonly seen: string;
}

async function saveOrRemember(
  { machine, warmUp }: StandingSandbox,
  { cache, lease, progress }: PlanTemplateRequest,
  { wanted, seen }: Place,
): Promise<void> {
  if (machine?.copy === undefined) return;
  try {
    if (!wasSeen(seen)) return writeFileSync(seen, '', { mode: 0o600 });
    await cache.ensure(wanted, lease, async (file) => {
      await warmUp();
      await machine.copy?.(file);
    });
  } catch (error) {
    progress(`this policy's sandboxes go on starting the longer way: ${reasonOf(error)}`);
  }
}

function wasSeen(file: string): boolean {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  return stat !== undefined && Math.abs(Date.now() - stat.mtimeMs) < SEEN_MS;
}
