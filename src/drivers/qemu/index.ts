export { chooseAccelerator } from './accelerator.ts';
export { RELAY_LISTENER, spawnMachine } from './driver.ts';
export { findFileServer, findQemu, tscKhz } from './probe.ts';
export { shareNames } from './layout.ts';
export { findNested, type Nested } from './nested.ts';
export { makeTemplate } from './save.ts';
export { templateKey, type BootedFiles, type MachineTemplate, type TemplateInput } from './template.ts';
