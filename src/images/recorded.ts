import type { AuditSink } from '../audit/contract.ts';
import { isGloveboxError } from '../base/errors.ts';

export type ImageAction = 'import' | 'pull' | 'build' | 'remove' | 'prune';

/** Does something to the store and leaves a record of it, whether it worked or not. */
export async function recorded<T extends object>(
  audit: AuditSink,
  facts: { readonly action: ImageAction; readonly name?: string },
  work: () => Promise<T>,
): Promise<T> {
  try {
    const done = await work();
    await audit.write({ kind: 'image.changed', data: { ...facts, ...recordData(done) } });
    return done;
  } catch (error) {
    if (isGloveboxError(error) && error.code !== 'E_AUDIT_UNWRITABLE') {
      const { code, what, why } = error;
      await audit.write({
        kind: 'image.refused',
        data: { ...facts, code, what, ...(why === undefined ? {} : { why }) },
      });
    }
    throw error;
  }
}

function recordData(done: object): Readonly<Record<string, unknown>> {
  if (!('chain' in done) || !('source' in done)) return {};
  return { chain: done.chain, source: done.source };
}
