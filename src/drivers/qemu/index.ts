export { RELAY_LISTENER, spawnMachine } from './driver.ts';
export { findFileServer, findQemu, tscKhz } from './probe.ts';
