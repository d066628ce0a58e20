/** Of the container tier, the strongest first: gVisor is the only one that brings a kernel of its own. */
export const CONTAINER_DRIVERS = ['gvisor', 'docker', 'podman'] as const;

/** Of the vm tier, the default first. */
export const VM_DRIVERS = ['qemu', 'firecracker'] as const;

export const DRIVERS = [...CONTAINER_DRIVERS, ...VM_DRIVERS] as const;

/** What the container tier is made with: gVisor in our own jail, or an engine that builds its own. */
export type ContainerDriver = (typeof CONTAINER_DRIVERS)[number];

/** What the vm tier is made with. */
export type VmDriver = (typeof VM_DRIVERS)[number];

/** What `driver` names; one that is not of the tier in use is left aside. */
export type NamedDriver = ContainerDriver | VmDriver;
