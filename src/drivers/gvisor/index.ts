export { filesLimit } from './boot.ts';
export { spawnContainer } from './driver.ts';
export { choosePlatform } from './platform.ts';
export { findRunsc, runscVersion } from './probe.ts';
