import { mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { questionLines } from '../../src/cli/ask/question.ts';
import { TestBox } from '../support/box.ts';
import { hostProgram } from '../support/users.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const GUIDES = [
  'README.md',
  ...readdirSync(path.join(ROOT, 'docs/guide')).map((name) => `docs/guide/${name}`),
];

interface Example {
  readonly where: string;
  readonly text: string;
}

/** Every fenced block of one language, with its place. */
function examples(language: string): readonly Example[] {
  return GUIDES.flatMap((file) => {
    const text = readFileSync(path.join(ROOT, file), 'utf8');
    return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map((match) => ({
      where: `${file}:${text.slice(0, match.index).split('\n').length}`,
      text: match[1] ?? '',
    }));
  });
}

describe('examples of the guide', () => {
  test.each(examples('yaml').map(({ where, text }) => [where, text] as const))(
    'the policy at %s is one',
    async (_where, text) => {
      using box = new TestBox();
      box.policy(/^version:/m.test(text) ? text : `version: 1\n${text}`);
      const { code, stdout, stderr } = await box.cli(['policy', 'check']);
      expect(stdout + stderr).not.toContain('error');
      expect(code).toBe(0);
    },
  );

  test('the question of the guide is the one that is asked', () => {
    const question = { host: 'files.example.net', port: 443, entry: 'http-proxy' } as const;
    const shown = examples('text').find(({ text }) => text.includes('wants to reach'));
    expect(shown?.text.startsWith(`${questionLines(question, 0).join('\n')}\n`)).toBe(true);
  });

  test.each(examples('js').map(({ where, text }) => [where, text] as const))(
    'the program at %s does what it says',
    async (_where, text) => {
      using box = new TestBox();
      mkdirSync(path.join(box.workspace, 'node_modules'));
      symlinkSync(ROOT, path.join(box.workspace, 'node_modules/glovebox'));
      box.write('example.mjs', text);
      const { stdout, stderr, code } = await hostProgram(box, [process.execPath, 'example.mjs']);
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const promised = [...text.matchAll(/\/\/ → (.+)$/gm)].map(([, shown]) => shown);
      expect(promised.length).toBeGreaterThan(0);
      const lines = stdout.split('\n');
      for (const shown of promised) expect(lines).toContain(shown);
    },
  );

  test('there are some', () => {
    expect(examples('js').length).toBeGreaterThan(8);
    expect(examples('yaml').length).toBeGreaterThan(5);
  });
});
