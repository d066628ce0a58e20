import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const EXAMPLES = path.resolve(import.meta.dirname, '../../examples');

/** What each example has to show; a new one without a row here fails. */
const SHOWS: Readonly<Record<string, readonly RegExp[]>> = {
  'pinned-api.mjs': [
    /sk-ant-api03-… \(\d+ characters\)/,
    /the API saw POST \/v1\/messages with the real key/,
    /"rule":"structural\.pin\.foreign"/,
    /refuses the path/,
  ],
};

test.each(readdirSync(EXAMPLES).filter((name) => name.endsWith('.mjs')))('%s runs', async (name) => {
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(EXAMPLES, name)]);
  expect(SHOWS[name]).toBeDefined();
  for (const shown of SHOWS[name] ?? []) expect(stdout).toMatch(shown);
  expect(stdout).not.toContain('the-real-key-stays-outside');
});
