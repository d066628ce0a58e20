import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Case, Input } from './load.ts';

/** Where a row is held that no socket of the gateway can express: real sandboxes, in `test/attack`. */
export interface Held {
  readonly file: string;
  readonly why: string;
}

const ATTACKS = path.resolve(import.meta.dirname, '../../attack');

const PACKETS: Readonly<Record<string, Held>> = {
  udp: { file: 'network-udp.test.ts', why: 'datagrams have no way out of the namespace' },
  icmp: { file: 'process-raw-sockets.test.ts', why: 'no socket of that kind can be opened inside' },
  icmpv6: { file: 'process-raw-sockets.test.ts', why: 'no socket of that kind can be opened inside' },
  sctp: { file: 'process-raw-sockets.test.ts', why: 'no socket of that kind can be opened inside' },
  dccp: { file: 'process-raw-sockets.test.ts', why: 'no socket of that kind can be opened inside' },
  arp: { file: 'process-raw-sockets.test.ts', why: 'no socket of that kind can be opened inside' },
  raw: { file: 'process-raw-sockets.test.ts', why: 'no socket of that kind can be opened inside' },
  unix: { file: 'process-abstract-socket.test.ts', why: 'abstract sockets belong to a network namespace' },
  vsock: { file: 'process-socket-families.test.ts', why: 'no socket of that family can be opened inside' },
};

/** The attack that holds a row; undefined when the row runs here. */
export function heldBy(row: Case): Held | undefined {
  return inputHeldBy(row.input);
}

function inputHeldBy(input: Input): Held | undefined {
  if (input.op === 'sequence') {
    for (const step of input.steps ?? []) {
      const held = step.op === 'kill-gateway' ? KILLED : inputHeldBy(step);
      if (held !== undefined) return held;
    }
    return undefined;
  }
  if (input.op === 'reload' && input.from_sandbox === true)
    return { file: 'own-state.test.ts', why: 'the policy lies outside of what a sandbox sees' };
  if (input.op !== 'packet' || input.proto === 'tcp') return undefined;
  // Every other protocol number needs a raw socket.
  return PACKETS[input.proto ?? ''] ?? PACKETS['raw'];
}

const KILLED: Held = {
  file: 'network-launcher-stopped.test.ts',
  why: 'the namespace has no route: without a gateway there is no answer',
};

export function attackExists(held: Held): boolean {
  return existsSync(path.join(ATTACKS, held.file));
}
