// Builds everything: the C agent, the bundles the command line and the SDK run from, and the type declarations.
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: 'inherit' });

// Chunks keep their file's name: a stack trace then says where it is, and a lazy import stays one file.
async function bundle() {
  rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  const build = await rolldown({
    cwd: root,
    input: { glovebox: 'src/cli/bin.ts', index: 'src/index.ts' },
    platform: 'node',
    external: [/^[a-z@](?!:)/],
    treeshake: true,
  });
  await build.write({
    dir: 'dist/bin',
    format: 'esm',
    sourcemap: false,
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    banner: (chunk) => (chunk.name === 'glovebox' ? '#!/usr/bin/env node' : ''),
  });
  await build.close();
}

// The system-call filters are compiled here once, so that a start only reads a file.
async function filters() {
  const source = path.join(root, 'dist/build/filters.mjs');
  const build = await rolldown({ cwd: root, input: 'scripts/filters.ts', platform: 'node' });
  await build.write({ file: source, format: 'esm' });
  await build.close();
  const { filters: all } = await import(pathToFileURL(source).href);
  mkdirSync(path.join(root, 'dist/seccomp'), { recursive: true });
  for (const { name, bytes } of all()) writeFileSync(path.join(root, 'dist/seccomp', name), bytes);
  rmSync(path.join(root, 'dist/build'), { recursive: true });
}

run('bash', ['agent/build.sh']);
await bundle();
await filters();
if (!process.argv.includes('--no-types')) run('npx', ['--no-install', 'tsc', '-p', 'tsconfig.types.json']);
