import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { rolldown } from 'rolldown';

/** Bundles the writer program into a new directory, so that tests can start it as a process; returns the directory and the program. */
export async function bundleWriter(): Promise<{ readonly dir: string; readonly program: string }> {
  const dir = mkdtempSync(path.join(tmpdir(), 'glovebox-audit-'));
  const program = path.join(dir, 'writer.mjs');
  const build = await rolldown({
    input: path.join(import.meta.dirname, 'writer.fixture.ts'),
    platform: 'node',
  });
  await build.write({ file: program, format: 'esm' });
  await build.close();
  return { dir, program };
}
