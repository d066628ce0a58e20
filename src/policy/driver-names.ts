import type { ContainerDriver, NamedDriver, VmDriver } from './contract.ts';

/** Of the container tier, the strongest first: gVisor is the only one that brings a kernel of its own. */
export const CONTAINER_DRIVERS = ['gvisor', 'docker', 'podman'] as const satisfies readonly ContainerDriver[];

/** Of the vm tier, the default first. */
export const VM_DRIVERS = ['qemu', 'firecracker'] as const satisfies readonly VmDriver[];

export const DRIVERS = [...CONTAINER_DRIVERS, ...VM_DRIVERS] as const satisfies readonly NamedDriver[];
