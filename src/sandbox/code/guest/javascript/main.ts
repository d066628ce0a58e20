import { isMainThread } from 'node:worker_threads';
import { Kernel } from './kernel.ts';
import { watch } from './watcher.ts';

/** The text of this program, for its second thread; the boot line leaves it here. */
const SOURCE = Symbol.for('glovebox.kernel.source');

if (isMainThread) {
  const source: unknown = Reflect.get(globalThis, SOURCE);
  new Kernel(String(source)).start();
} else {
  watch();
}
