import { elfSection } from '../kernel/elf.ts';

/** What a module says of itself: `NAME=VALUE`, each ended by a zero byte, in the section `.modinfo`. Source: linux/module.h. */
export interface ModuleInfo {
  /** Modules whose symbols it uses. */
  readonly depends: readonly string[];
  /** Modules that have to be there before it, where they exist. */
  readonly before: readonly string[];
}

/** Undefined for what is no module. */
export function moduleInfo(file: Buffer): ModuleInfo | undefined {
  const section = elfSection(file, '.modinfo');
  if (section === undefined) return undefined;
  const fields = section.toString('latin1').split('\0');
  const values = (name: string): readonly string[] =>
    fields.filter((field) => field.startsWith(`${name}=`)).map((field) => field.slice(name.length + 1));
  const depends = values('depends').flatMap((list) => list.split(','));
  return {
    depends: depends.filter((name) => name !== '').map(moduleName),
    before: values('softdep').flatMap(before),
  };
}

/** `pre: a b post: c` (modprobe.d(5), softdep). */
function before(text: string): readonly string[] {
  const words = text.split(/\s+/);
  const start = words.indexOf('pre:');
  if (start === -1) return [];
  const rest = words.slice(start + 1);
  const end = rest.indexOf('post:');
  return rest
    .slice(0, end === -1 ? undefined : end)
    .filter((word) => word !== '')
    .map(moduleName);
}

/** Names of files and of modules differ in dashes only. */
export function moduleName(text: string): string {
  return text.replaceAll('-', '_');
}
