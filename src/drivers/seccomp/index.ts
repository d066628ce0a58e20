export { compileSeccomp } from './compile.ts';
export type { SeccompOptions } from './rules.ts';
export { seccompReference } from './reference.ts';
