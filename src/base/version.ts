import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The package's own directory: what lies above `dist/` in a bundle, and above `src/` in the source tree. */
export function packageRoot(): string {
  const here = fileURLToPath(import.meta.url);
  const marks = ['/dist/bin/', '/dist/lib/', '/src/base/'].map((mark) => here.lastIndexOf(mark));
  const cut = Math.max(...marks);
  return cut === -1 ? path.resolve(path.dirname(here), '..') : here.slice(0, cut);
}

/** Version of this package. */
export function packageVersion(): string {
  const text = readFileSync(path.join(packageRoot(), 'package.json'), 'utf8');
  const fields: unknown = JSON.parse(text);
  const known = typeof fields === 'object' && fields !== null && 'version' in fields;
  return known && typeof fields.version === 'string' ? fields.version : 'unknown';
}
