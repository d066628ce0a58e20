import { performance } from 'node:perf_hooks';

// Resolves a policy in a fresh process. Arguments: working directory, policy file. Prints milliseconds as JSON: the modules,
// the first resolution, and the same once more.

const [cwd = '/', policyFile] = process.argv.slice(2);
const layer = policyFile === undefined ? {} : { policyFile };

const laps = [performance.now()];
const { loadPolicy } = await import('../../src/policy/load.ts');
const { policyContext } = await import('../../src/sandbox/context.ts');
laps.push(performance.now());
const context = policyContext(process.env, cwd);
for (let i = 0; i < 2; i++) {
  await loadPolicy(context, layer);
  laps.push(performance.now());
}
const [begin = 0, imported = 0, first = 0, second = 0] = laps;
process.stdout.write(
  `${JSON.stringify({ modules: imported - begin, load: first - imported, again: second - first })}\n`,
);
