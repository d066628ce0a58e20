// Writes the schema and the reference pages from the code; with --check only says what is stale.
import { mkdtempSync, readFileSync, rmSync, writeFileSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { rolldown } from 'rolldown';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const work = mkdtempSync(path.join(root, 'node_modules/.gen-'));

async function load() {
  const build = await rolldown({
    cwd: root,
    input: 'scripts/gen.ts',
    platform: 'node',
    external: [/^[a-z@](?!:)/],
  });
  await build.write({ dir: work, format: 'esm' });
  await build.close();
  return import(pathToFileURL(path.join(work, 'gen.js')).href);
}

try {
  const { generated } = await load();
  const stale = [];
  for (const [name, text] of Object.entries(await generated())) {
    const file = path.join(root, name);
    let now = '';
    try {
      now = readFileSync(file, 'utf8');
    } catch {}
    if (now === text) continue;
    stale.push(name);
    if (process.argv.includes('--check')) continue;
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  if (process.argv.includes('--check') && stale.length > 0) {
    console.error(`stale, run \`npm run gen\`: ${stale.join(', ')}`);
    process.exitCode = 1;
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
