// Builds everything: the C agent, the bundles the command line and the SDK run from, and the type declarations.
import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const run = (command, args) => execFileSync(command, args, { cwd: root, stdio: 'inherit' });

// Chunks keep their file's name: a stack trace then says where it is, and a lazy import stays one file.
async function bundle() {
  rmSync(path.join(root, 'dist'), { recursive: true, force: true });
  const build = await rolldown({
    cwd: root,
    input: { glovebox: 'src/cli/main.ts', index: 'src/index.ts' },
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

run('bash', ['agent/build.sh']);
await bundle();
if (!process.argv.includes('--no-types')) run('npx', ['--no-install', 'tsc', '-p', 'tsconfig.types.json']);
