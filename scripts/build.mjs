// Builds everything: the C agent, the bundles the command line and the SDK run from, and the type declarations.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
// Built beside the old one and swapped in at the end: what runs meanwhile keeps its files.
const out = path.join(root, 'node_modules/.glovebox-dist');
const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: 'inherit' });

/**
 * Every module that `glovebox run` loads on its way to a started command. Together in one file they cost one read and one
 * compilation; as a file each they cost a millisecond each.
 */
function hotModules() {
  const hot = new Set();
  const visit = (file) => {
    if (hot.has(file)) return;
    hot.add(file);
    const imports = /^(?:import|export) (?!type )[^;]*?from '(\.[^']+)';/gms;
    for (const [, target] of readFileSync(file, 'utf8').matchAll(imports))
      visit(path.resolve(path.dirname(file), target));
  };
  for (const entry of ['src/cli/bin.ts', 'src/cli/commands/run.ts']) visit(path.join(root, entry));
  return hot;
}

// Packages are bundled too: reading one file is quicker than resolving a package.
const external = [/^node:/];

/** The command line: CommonJS, because Node loads it faster and V8's code cache can be used for it. */
async function bundleCommandLine() {
  const hot = hotModules();
  const build = await rolldown({ cwd: root, input: { main: 'src/cli/bin.ts' }, platform: 'node', external });
  await build.write({
    dir: path.join(out, 'bin'),
    format: 'cjs',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    codeSplitting: { groups: [{ name: 'run-path', test: (id) => hot.has(id) }] },
  });
  await build.close();
  writeFileSync(path.join(out, 'bin/package.json'), '{ "type": "commonjs" }\n');
  cpSync(path.join(root, 'scripts/launcher.cjs'), path.join(out, 'bin/glovebox.js'));
}

/** The SDK: an ES module with its lazy parts beside it. */
async function bundleLibrary() {
  const build = await rolldown({ cwd: root, input: { index: 'src/index.ts' }, platform: 'node', external });
  await build.write({ dir: path.join(out, 'lib'), format: 'esm', chunkFileNames: 'chunks/[name].js' });
  await build.close();
}

/** One run of each hot command in place, so that the cache holds the functions they use. */
function writeCodeCache(dist) {
  const main = path.join(dist, 'bin/main.js');
  const env = { ...process.env, GLOVEBOX_WRITE_CODE_CACHE: main };
  execFileSync(process.execPath, [path.join(dist, 'bin/glovebox.js'), 'version'], { env, stdio: 'ignore' });
}

// The system-call filters are compiled here once, so that a start only reads a file.
async function filters() {
  const source = path.join(out, 'build/filters.mjs');
  const build = await rolldown({ cwd: root, input: 'scripts/filters.ts', platform: 'node' });
  await build.write({ file: source, format: 'esm' });
  await build.close();
  const { filters: all } = await import(pathToFileURL(source).href);
  mkdirSync(path.join(out, 'seccomp'), { recursive: true });
  for (const { name, bytes } of all()) writeFileSync(path.join(out, 'seccomp', name), bytes);
  rmSync(path.join(out, 'build'), { recursive: true });
}

run('bash', ['agent/build.sh']);
rmSync(out, { recursive: true, force: true });
await bundleCommandLine();
await bundleLibrary();
await filters();
if (!process.argv.includes('--no-types')) {
  run('npx', ['--no-install', 'tsc', '-p', 'tsconfig.types.json', '--outDir', path.join(out, 'types')]);
}
const dist = path.join(root, 'dist');
rmSync(`${dist}.old`, { recursive: true, force: true });
if (existsSync(dist)) renameSync(dist, `${dist}.old`);
renameSync(out, dist);
writeCodeCache(dist);
rmSync(`${dist}.old`, { recursive: true, force: true });
