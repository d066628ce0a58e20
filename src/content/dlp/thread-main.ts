import { parentPort } from 'node:worker_threads';
import { createScanner } from './scanner.ts';
import type { InlineScanner } from './scanner.ts';
import type { ThreadAnswer, ThreadRequest } from './thread-protocol.ts';

/** The thread of a `ScanThread`. Whatever goes wrong here ends it, and its owner takes that for a refusal. */
function serve(port: NonNullable<typeof parentPort>): void {
  let scanner: InlineScanner | undefined;
  let exempt: readonly string[] = [];
  port.on('message', (request: ThreadRequest) => {
    const { config, data, headers } = request;
    exempt = request.exempt;
    if (config !== undefined) {
      const { policy, secrets, hashKey } = config;
      const placeholders = (): Iterable<{ readonly text: string }> => exempt.map((text) => ({ text }));
      scanner = createScanner({ policy, hashKey, secrets: () => secrets, placeholders });
    }
    if (scanner === undefined) throw new Error('work came before a configuration');
    const finding = headers === undefined ? scanner.message(data) : scanner.body(data, headers);
    const answer: ThreadAnswer = { finding };
    port.postMessage(answer);
  });
}

if (parentPort !== null) serve(parentPort);
