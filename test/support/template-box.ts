import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { Sandbox, type SandboxOptions } from '../../src/index.ts';
import { readRecord } from '../../src/machine/cache/record.ts';
import { TestBox } from './box.ts';

/** Small, so that a template is read in no time. */
export const TEMPLATE_MEMORY = '160MiB';

/** With a cache of its own: nobody has made a template there. */
export class TemplateBox extends TestBox {
  get cache(): string {
    return path.join(this.home, '.cache/glovebox/machine');
  }

  create(options: SandboxOptions = {}): Promise<Sandbox> {
    const wanted = { workspace: this.workspace, hostEnv: this.env(), tier: 'vm' } as const;
    return Sandbox.create({ ...wanted, limits: { memory: TEMPLATE_MEMORY }, ...options });
  }

  /** Of a machine's shape. */
  templates(): readonly string[] {
    return this.#inSlots(/^template /);
  }

  /** Those in which a plan's sandbox stands. */
  planTemplates(): readonly string[] {
    return this.#inSlots(/^plan /);
  }

  /** Of the only one. */
  template(): string {
    const [file, ...more] = this.templates();
    expect(more).toEqual([]);
    if (file === undefined) throw new Error('no template was made');
    return file;
  }

  /** What is being made, or was left by somebody who died. */
  drafts(): readonly string[] {
    const dir = path.join(this.cache, 'tmp');
    return existsSync(dir) ? readdirSync(dir) : [];
  }

  #inSlots(slots: RegExp): readonly string[] {
    const entries = path.join(this.cache, 'entries');
    return readdirSync(entries)
      .map((name) => path.join(entries, name))
      .filter((entry) => slots.test(readRecord(entry)?.slot ?? ''))
      .map((entry) => path.join(entry, 'data'));
  }
}
