// Bundles the benchmarks the way scripts/build.mjs bundles the program, and runs them: npm run bench -- [options] [NAME…]
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const bench = path.dirname(fileURLToPath(import.meta.url));
// Below the repository, so that the packages the bundles leave outside are found; not in git.
const out = path.join(bench, 'results/local/build');

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
process.exitCode = await main(process.argv.slice(2), { programs: out, results: path.dirname(out) });
