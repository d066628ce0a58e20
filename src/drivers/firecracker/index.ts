export { findFirecracker, unfinished, type Firecracker } from './probe.ts';
