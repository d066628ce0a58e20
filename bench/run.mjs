// Bundles the benchmarks the way scripts/build.mjs bundles the program, and runs them: npm run bench -- [options] [NAME…]
import { rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const bench = path.dirname(fileURLToPath(import.meta.url));
// Below the repository, so that the packages the bundles leave outside are found; not in git. Each run has its own: two may go on
// at once.
const results = path.join(bench, 'results/local');
const out = path.join(results, `build/${process.pid}`);
process.on('exit', () => rmSync(out, { recursive: true, force: true }));

// Modules look for the package's files from where their source lies, not from the bundle.
const sourcePlaces = {
  name: 'source-places',
  transform: (code, id) => code.replaceAll('import.meta.url', JSON.stringify(pathToFileURL(id).href)),
};

const bundle = await rolldown({
  cwd: path.dirname(bench),
  input: {
    main: 'bench/main.ts',
    'audit-writer': 'bench/programs/audit-writer.ts',
    'inspected-client': 'bench/programs/inspected-client.ts',
    'inspected-gateway': 'bench/programs/inspected-gateway.ts',
    'inspected-idle': 'bench/programs/inspected-idle.ts',
    'inspected-origin': 'bench/programs/inspected-origin.ts',
    'inspected-peer': 'bench/programs/inspected-peer.ts',
    'network-client': 'bench/programs/network-client.ts',
    'network-origin': 'bench/programs/network-origin.ts',
    'policy-load': 'bench/programs/policy-load.ts',
  },
  platform: 'node',
  external: [/^[a-z@](?!:)/],
  treeshake: true,
  plugins: [sourcePlaces],
});
await bundle.write({
  dir: out,
  format: 'esm',
  entryFileNames: '[name].mjs',
  chunkFileNames: 'chunks/[name].mjs',
  cleanDir: true,
});
await bundle.close();

const { main } = await import(pathToFileURL(path.join(out, 'main.mjs')).href);
process.exitCode = await main(process.argv.slice(2), { programs: out, results });
