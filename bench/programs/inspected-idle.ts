import { setTimeout as sleep } from 'node:timers/promises';
import { answering, count, text } from '../lib/helper.ts';
import { rootsFor, startInspected, type Inspected } from '../lib/inspected-gateway.ts';

// Some gateways in one process, and what it takes to keep them. The first message says how many, and where the origin is; every
// message is answered with the resident memory in MiB after a collection. Run with --expose-gc.

const MIB = 1024 * 1024;
const gateways: Inspected[] = [];

async function resident(): Promise<number> {
  for (let i = 0; i < 4; i++) {
    globalThis.gc?.();
    await sleep(100);
  }
  return process.memoryUsage.rss() / MIB;
}

answering(async (question) => {
  const ca = text(question['ca']);
  if (ca !== '') {
    const parts = { ca, roots: rootsFor(ca), h1: count(question['h1']), h2: count(question['h2']) };
    for (let i = 0; i < count(question['gateways']); i++)
      gateways.push(await startInspected(parts, `sbx_${i}`));
  }
  return {
    memory: await resident(),
    doors: gateways.map(({ port, authority, placeholders }) => ({
      port,
      ca: authority.pem,
      keys: placeholders,
    })),
  };
});
