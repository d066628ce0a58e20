import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = path.resolve(import.meta.dirname, '../src');

/** Rooms by row: a room imports only from rows above its own. Source: docs/design/architecture.md. */
const ROWS: readonly (readonly string[])[] = [
  ['base'],
  ['net', 'shell'],
  ['policy'],
  ['audit', 'agent'],
  ['drivers', 'gateway', 'secrets', 'approval', 'content', 'detect', 'identity', 'images', 'review'],
  ['machine'],
  ['sandbox'],
  ['server', 'mcp', 'verify', 'index.ts', 'testing.ts'],
  ['cli'],
];

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
const sources = files.filter((name) => !name.endsWith('.test.ts'));

function roomOf(file: string): string {
  return file.split('/')[0] ?? file;
}

function rowOf(room: string): number {
  return ROWS.findIndex((row) => row.includes(room));
}

function text(file: string): string {
  return readFileSync(path.join(SRC, file), 'utf8');
}

/** Relative imports of a file, static and dynamic, as paths below src. */
function importsOf(file: string): readonly string[] {
  const found = [...text(file).matchAll(/(?:from\s+|import\()'(\.[^']+)'/g)];
  return found.map((match) => path.join(path.dirname(file), match[1] ?? ''));
}

describe('architecture', () => {
  it('knows every room', () => {
    const unknown = files.map(roomOf).filter((room) => rowOf(room) === -1);
    expect(unknown).toEqual([]);
  });

  it('imports only from rows above', () => {
    const wrong = files.flatMap((file) =>
      importsOf(file)
        .filter((target) => roomOf(target) !== roomOf(file))
        .filter((target) => rowOf(roomOf(target)) >= rowOf(roomOf(file)))
        .map((target) => `${file} -> ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  it('has no import cycles', () => {
    const cycles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) {
        cycles.push([...trail.slice(trail.indexOf(file)), file].join(' -> '));
        return;
      }
      if (done.has(file)) return;
      done.add(file);
      for (const target of staticImports(file)) visit(target, [...trail, file]);
    };
    for (const file of sources) visit(file, []);
    expect(cycles).toEqual([]);
  });

  it('keeps files under 400 lines', () => {
    const long = sources.filter((file) => text(file).split('\n').length > 401);
    expect(long).toEqual([]);
  });

  it('has no default exports and no any', () => {
    const wrong = sources.filter(
      (file) => /^export default/m.test(text(file)) || /[:<,(]\s*any\b/.test(text(file)),
    );
    expect(wrong).toEqual([]);
  });

  it('has no module-level mutable state', () => {
    const wrong = sources.filter((file) => /^(export )?(let|var) /m.test(text(file)));
    expect(wrong).toEqual([]);
  });
});

/** Imports that run at load time; types and lazy imports cannot make a cycle at run time. */
function staticImports(file: string): readonly string[] {
  const found = [...text(file).matchAll(/^(?:import|export) (?!type )[^;]*?from '(\.[^']+)'/gms)];
  return found.map((match) => path.join(path.dirname(file), match[1] ?? ''));
}
