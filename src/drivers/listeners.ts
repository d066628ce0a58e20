import { CAPS } from '../base/caps.ts';
import { GloveboxError } from '../base/errors.ts';
import type { NetworkPolicy } from '../policy/contract.ts';
import type { PlanListener } from './contract.ts';

/**
 * Ports that agents try without asking: a listener turns a bare refusal into one with a record. All are below 1024,
 * where a program in the sandbox cannot listen itself, so none takes a port away from it.
 */
const SENTINEL_PORTS: readonly number[] = [22, 25, 80, 443, 853];

const PROXY_PORT = 3128;
const SOCKS_PORT = 1080;

/** The listening sockets of one sandbox's network namespace, in a stable order. */
export function planListeners(network: NetworkPolicy): readonly PlanListener[] {
  const allowed = [...new Set(network.allow.flatMap((rule) => rule.ports))].sort((a, b) => a - b);
  if (allowed.length > CAPS.listenerPorts) throw tooManyPorts(allowed.length);
  const taken = new Set([53, ...allowed]);
  const listeners: Omit<PlanListener, 'id'>[] = [
    { transport: 'udp', port: 53, role: 'dns' },
    { transport: 'tcp', port: 53, role: 'dns' },
    { transport: 'tcp', port: firstFree(PROXY_PORT, taken), role: 'http-proxy' },
    { transport: 'tcp', port: firstFree(SOCKS_PORT, taken), role: 'socks' },
  ];
  for (const port of allowed)
    if (port !== 53) listeners.push({ transport: 'tcp', port, role: 'transparent' });
  for (const port of SENTINEL_PORTS) {
    if (taken.has(port)) continue;
    // Where somebody can be asked, an attempt is a question and not yet a refusal.
    const role = network.ask !== undefined && port !== 25 && port !== 853 ? 'transparent' : 'sentinel';
    listeners.push({ transport: 'tcp', port, role });
  }
  return listeners.map((listener, id) => ({ id, ...listener }));
}

function firstFree(wanted: number, taken: Set<number>): number {
  let port = wanted;
  while (taken.has(port)) port++;
  taken.add(port);
  return port;
}

/** The port of the listener with a role; every plan has the four fixed ones. */
export function listenerPort(listeners: readonly PlanListener[], role: PlanListener['role']): number {
  const found = listeners.find((listener) => listener.role === role);
  if (found === undefined)
    throw new GloveboxError('E_INTERNAL', { what: `the plan has no ${role} listener` });
  return found.port;
}

function tooManyPorts(count: number): GloveboxError {
  return new GloveboxError('E_POLICY_INVALID', {
    what: `the network rules name ${count} different ports`,
    why: `each needs a listening socket, and ${CAPS.listenerPorts} is the most a sandbox may have`,
    next: 'Name the ports that are really used.',
  });
}
