import { answering, count, text } from '../lib/helper.ts';
import { rootsFor, startInspected } from '../lib/inspected-gateway.ts';

// One gateway in a process of its own. The first message names the origin's root and ports; every later one is answered with the
// processor time this process has used, in milliseconds.

const milliseconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

let started = false;
answering(async (question) => {
  if (started) return { cpu: milliseconds() };
  started = true;
  const ca = text(question['ca']);
  const parts = { ca, roots: rootsFor(ca), h1: count(question['h1']), h2: count(question['h2']) };
  const { port, authority, placeholders } = await startInspected(parts);
  return { port, ca: authority.pem, keys: placeholders };
});
