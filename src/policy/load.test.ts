import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ResolvedPolicy } from './contract.ts';
import { PolicyFixture } from './fixture.ts';
import { sha256 } from './files.ts';
import { loadPolicy } from './load.ts';
import { resolvePolicy } from './resolve.ts';

const entries = (fixture: PolicyFixture): readonly string[] => {
  const dir = path.join(fixture.context.cacheDir, 'policy');
  return readdirSync(dir).map((name) => path.join(dir, name));
};

/** Puts a mark into the stored answer, so that a test sees whether it was used. */
function markEntry(fixture: PolicyFixture): void {
  const [file = ''] = entries(fixture);
  const body = readFileSync(file, 'utf8').slice(65).replace('"notices":[]', '"notices":["from the cache"]');
  writeFileSync(file, `${sha256(body)}\n${body}`);
}

const isCached = (resolved: ResolvedPolicy): boolean => resolved.notices.includes('from the cache');

async function warm(fixture: PolicyFixture): Promise<void> {
  await loadPolicy(fixture.context, {});
  markEntry(fixture);
  expect(isCached(await loadPolicy(fixture.context, {}))).toBe(true);
}

describe('loadPolicy', () => {
  it('answers from the cache as from the files', async () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nextends: [profile:claude-code]\nlimits: { cpu: 0.5 }\n');
    const layer = { allow: ['a.test'], env: ['A=b'] };
    const first = await loadPolicy(fixture.context, layer);
    const second = await loadPolicy(fixture.context, layer);
    expect(second).toEqual(first);
    expect(first).toEqual(resolvePolicy(fixture.context, layer));
    expect(Object.isFrozen(second.policy.network.allow[0])).toBe(true);
  });

  it('keeps the cache private', async () => {
    using fixture = new PolicyFixture();
    await loadPolicy(fixture.context, {});
    const [file = ''] = entries(fixture);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(path.dirname(file)).mode & 0o777).toBe(0o700);
  });

  it.each<[string, (fixture: PolicyFixture) => unknown]>([
    ['a user policy appears', (fixture) => fixture.user('version: 1\n')],
    ['an organisation policy appears', (fixture) => fixture.organisation('version: 1\n')],
    ['a project policy appears', (fixture) => fixture.project('version: 1\n')],
    ['the checksum is wrong', (fixture) => writeFileSync(entries(fixture)[0] ?? '', `${'0'.repeat(64)}\n{}`)],
    ['the entry is empty', (fixture) => writeFileSync(entries(fixture)[0] ?? '', '')],
    ['the entry is no JSON', (fixture) => writeFileSync(entries(fixture)[0] ?? '', `${sha256('x')}\nx`)],
    [
      'the entry lacks its parts',
      (fixture) => writeFileSync(entries(fixture)[0] ?? '', `${sha256('{}')}\n{}`),
    ],
    ['others may read the entry', (fixture) => chmodSync(entries(fixture)[0] ?? '', 0o644)],
    [
      'the entry is a link',
      (fixture) => {
        const [file = ''] = entries(fixture);
        renameSync(file, path.join(fixture.root, 'planted'));
        symlinkSync(path.join(fixture.root, 'planted'), file);
      },
    ],
  ])('compiles anew when %s', async (_what, change) => {
    using fixture = new PolicyFixture();
    await warm(fixture);
    change(fixture);
    expect(isCached(await loadPolicy(fixture.context, {}))).toBe(false);
  });

  it('checks the workspace each time', async () => {
    using fixture = new PolicyFixture();
    await warm(fixture);
    rmSync(fixture.workspace, { recursive: true });
    await expect(loadPolicy(fixture.context, {})).rejects.toMatchObject({ code: 'E_WORKSPACE_INVALID' });
    mkdirSync(path.join(fixture.root, 'elsewhere'));
    symlinkSync(path.join(fixture.root, 'elsewhere'), fixture.workspace);
    const moved = await loadPolicy(fixture.context, {});
    expect(moved.policy.filesystem.workspace).toBe(path.join(fixture.root, 'elsewhere'));
  });

  it('works without a cache', async () => {
    using fixture = new PolicyFixture();
    fixture.write(path.join(fixture.home, '.cache'), 'a file in the way');
    expect((await loadPolicy(fixture.context, {})).policy.version).toBe(1);
  });

  it('loads no parser on the way to the cache', () => {
    const seen = new Set<string>();
    const outside = new Set<string>();
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      const imports = readFileSync(file, 'utf8').matchAll(
        /^(?:import|export) (?!type )[^;]*?from '([^']+)'/gms,
      );
      for (const [, name = ''] of imports) {
        if (name.startsWith('.')) visit(path.resolve(path.dirname(file), name));
        else outside.add(name);
      }
    };
    visit(path.resolve(import.meta.dirname, 'load.ts'));
    expect([...outside].filter((name) => !name.startsWith('node:'))).toEqual([]);
    expect([...seen].some((file) => file.endsWith('resolve.ts'))).toBe(false);
  });
});
