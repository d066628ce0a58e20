// Builds everything: the C agent, the bundles the command line and the SDK run from, and the type declarations.
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { Module } from 'node:module';
import { tmpdir } from 'node:os';
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

/** Packages that few policies need: the command line keeps each in a file of its own and loads it when it is first used. */
const LATE_PACKAGES = ['re2js'];

/** The command line: CommonJS, because Node loads it faster and V8's code cache can be used for it. */
async function bundleCommandLine() {
  const hot = hotModules();
  // Every start reads the source beside its cache. Names stay, for stack traces.
  const minify = { compress: false, mangle: false, codegen: true };
  const build = await rolldown({
    cwd: root,
    input: { main: 'src/cli/bin.ts' },
    platform: 'node',
    external: [...external, ...LATE_PACKAGES],
  });
  await build.write({
    dir: path.join(out, 'bin'),
    format: 'cjs',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    codeSplitting: { groups: [{ name: 'run-path', test: (id) => hot.has(id) }] },
    minify,
  });
  await build.close();
  const late = await rolldown({
    cwd: root,
    input: Object.fromEntries(LATE_PACKAGES.map((name) => [name, name])),
    platform: 'node',
  });
  await late.write({ dir: path.join(out, 'bin/packages'), format: 'cjs', minify });
  await late.close();
  const main = path.join(out, 'bin/main.js');
  // Wrapped as require() would: joining texts of this size at each start costs a copy and a garbage collection.
  const steps = [withRuntime, withLateModules, withOwnPath, asAscii, Module.wrap];
  writeFileSync(
    main,
    steps.reduce((source, step) => step(source), readFileSync(main, 'utf8')),
  );
  writeFileSync(path.join(out, 'bin/package.json'), '{ "type": "commonjs" }\n');
  cpSync(path.join(root, 'scripts/launcher.cjs'), path.join(out, 'bin/glovebox.js'));
}

/** Parts of Node that every start needs before its first process. */
const EARLY = new Set(
  ['child_process', 'fs', 'net', 'os', 'path', 'stream', 'url', 'util'].map((name) => `node:${name}`),
);

/**
 * Loads every other part of Node, and the late packages, when something of it is first used: that overlaps with the sandbox's
 * own start, or never happens. A default import copies the part, and is left as it is.
 */
function withLateModules(source) {
  return source.replaceAll(/\blet (\w+)=require\("([\w/:]+)"\);(?!\1=)/g, (whole, variable, name) => {
    const own = LATE_PACKAGES.includes(name);
    if (!own && (!name.startsWith('node:') || EARLY.has(name))) return whole;
    const load = `(part??=require("${own ? `./packages/${name}.js` : name}"))`;
    return `let ${variable}=(part=>new Proxy({},{get:(_,key)=>${load}[key]}))();`;
  });
}

/** One byte a character: V8 keeps, decodes and compares half as much. Outside of strings and patterns nothing else occurs. */
function asAscii(source) {
  return source.replaceAll(
    /[\u0080-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** The bundler's own helpers, which it keeps in a file of their own: each file costs a search, a read and a compilation. */
function withRuntime(source) {
  const own = 'require("./chunks/rolldown-runtime.js")';
  if (!source.includes(own)) throw new Error('the bundle has its helpers elsewhere now');
  const helpers = readFileSync(path.join(out, 'bin/chunks/rolldown-runtime.js'), 'utf8');
  return source.replace(own, () => `(exports=>{${helpers}return exports})({})`);
}

/** Where this file lies, without a detour over a URL. */
function withOwnPath(source) {
  const detour = '(0,node_url.fileURLToPath)(require("url").pathToFileURL(__filename).href)';
  if (!source.includes(detour)) throw new Error('the bundle asks for its own path in another way now');
  return source.replaceAll(detour, '__filename');
}

/** The SDK and its double: ES modules that share what they have in common, with lazy parts beside them. */
async function bundleLibrary() {
  const input = { index: 'src/index.ts', testing: 'src/testing.ts' };
  const build = await rolldown({ cwd: root, input, platform: 'node', external });
  await build.write({ dir: path.join(out, 'lib'), format: 'esm', chunkFileNames: 'chunks/[name].js' });
  await build.close();
}

/** Programs of threads: each alone in its file, with its packages. */
async function bundleWorkers() {
  const input = { scanner: 'src/content/dlp/thread-main.ts' };
  const build = await rolldown({ cwd: root, input, platform: 'node', external });
  await build.write({ dir: path.join(out, 'workers'), format: 'esm', entryFileNames: '[name].mjs' });
  await build.close();
}

/** Programs that run inside sandboxes: the kernels of the code runner, each in one file that is sent there. */
async function bundleGuests() {
  const source = path.join(root, 'src/sandbox/code/guest');
  const input = path.join(source, 'javascript/main.ts');
  const build = await rolldown({ cwd: root, input, platform: 'node', external });
  const file = path.join(out, 'guest/javascript.cjs');
  await build.write({ file, format: 'cjs', minify: true, codeSplitting: false });
  await build.close();
  const python = ['channel', 'show', 'charts', 'kernel'].map((part) =>
    readFileSync(path.join(source, 'python', `${part}.py`), 'utf8'),
  );
  writeFileSync(path.join(out, 'guest/python.py'), python.join('\n\n'));
  cpSync(path.join(source, 'shell.bash'), path.join(out, 'guest/shell.bash'));
}

/**
 * Two runs in place, so that the cache holds the functions a start uses: the first fills the policy cache, as every later one
 * finds it. Where a sandbox cannot start, the cache holds what was used until then, and the rest is compiled when needed.
 */
function writeCodeCache(dist) {
  const main = path.join(dist, 'bin/main.js');
  const home = mkdtempSync(path.join(tmpdir(), 'glovebox-build-'));
  const dir = (name) => path.join(home, name);
  const env = {
    PATH: process.env.PATH,
    HOME: home,
    XDG_CONFIG_HOME: dir('config'),
    XDG_STATE_HOME: dir('state'),
    XDG_CACHE_HOME: dir('cache'),
    XDG_RUNTIME_DIR: dir('run'),
    GLOVEBOX_WRITE_CODE_CACHE: main,
  };
  mkdirSync(dir('workspace'));
  for (const name of ['config', 'state', 'cache', 'run']) mkdirSync(dir(name), { mode: 0o700 });
  const argv = [path.join(dist, 'bin/glovebox.js'), 'run', '--', 'true'];
  for (let i = 0; i < 2; i++)
    spawnSync(process.execPath, argv, { cwd: dir('workspace'), env, stdio: 'ignore', timeout: 60_000 });
  rmSync(home, { recursive: true, force: true });
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
await bundleWorkers();
await bundleGuests();
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
