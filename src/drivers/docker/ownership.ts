import { readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import path from 'node:path';
import { isAlive, processIdentity, type ProcessIdentity } from '../../base/process-identity.ts';
import { ask, type EngineClient } from './client.ts';

/**
 * Who a container belongs to. A number of a process says something only on its own machine, since its boot, and in its pid namespace:
 * a launcher in a container that shares the engine's socket must not take those of others for dead.
 */
export interface Ownership {
  readonly place: string;
  readonly owner: ProcessIdentity;
}

const LABEL = { id: 'glovebox.id', owner: 'glovebox.owner', place: 'glovebox.place' } as const;

export function ownOwnership(): Ownership {
  return {
    place: ownPlace(),
    owner: processIdentity(process.pid) ?? { pid: process.pid, startTicks: '0' },
  };
}

function ownPlace(): string {
  const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0';
  return `${boot}-${namespace}`;
}

/** The labels of a container. Pure. */
export function ownershipLabels(id: string, { place, owner }: Ownership): Readonly<Record<string, string>> {
  return { [LABEL.id]: id, [LABEL.owner]: ownerText(owner), [LABEL.place]: place };
}

const ownerText = ({ pid, startTicks }: ProcessIdentity): string => `${pid}.${startTicks}`;

/** The name of a sandbox's private directory says whose it is. Pure. */
export function privateName(id: string, { owner }: Ownership): string {
  return `${id}.${ownerText(owner)}`;
}

/** The owner in a name or label that ends with one; undefined for anything else. Pure. */
export function ownerOf(text: string): ProcessIdentity | undefined {
  const match = /(?:^|\.)(\d+)\.(\d+)$/.exec(text);
  const [, pid, startTicks] = match ?? [];
  return pid === undefined || startTicks === undefined ? undefined : { pid: Number(pid), startTicks };
}

/** Removes containers of this place whose owner is dead, and the directories that they had. */
export async function sweepDead(client: EngineClient, directory: string): Promise<void> {
  const { place } = ownOwnership();
  const format = `{{.ID}} {{.Label "${LABEL.owner}"}}`;
  const listed = await ask(client, [
    ...['ps', '--all', '--no-trunc', '--filter', `label=${LABEL.place}=${place}`],
    ...['--format', format],
  ]);
  const dead = listed.out.split('\n').flatMap((line) => {
    const [id = '', label = ''] = line.trim().split(' ');
    const owner = ownerOf(label);
    return owner === undefined || isAlive(owner) ? [] : [id];
  });
  if (dead.length > 0) await ask(client, ['rm', '--force', ...dead]);
  for (const name of readdirSync(directory)) {
    const owner = ownerOf(name);
    if (owner !== undefined && !isAlive(owner)) removePrivate(path.join(directory, name));
  }
}

/** The covers in it cannot be entered by anybody else, and hold nothing. */
export function removePrivate(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}
