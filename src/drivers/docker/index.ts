export { spawnEngine } from './driver.ts';
export { engineFacts, findEngine, type EngineFacts } from './probe.ts';
export type { EngineName } from './args.ts';
