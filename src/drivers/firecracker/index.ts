export { spawnFirecracker } from './driver.ts';
export { findFirecracker, KVM, requireConsent, type Firecracker } from './probe.ts';
export { CPUS_MAX } from './requests.ts';
