import { PRESETS, type Reasoned } from './presets.ts';
import type { JsonDeny, RequestMatch } from './contract.ts';
import { jsonText } from './rule-text.ts';
import { matchText } from './request-cover.ts';

/** The page of all presets, without its title comment. */
export function presetReference(): string {
  const parts = Object.entries(PRESETS).map(
    ([name, preset]) =>
      `\n## ${name}\n\n${preset.description}\n${table('passes', preset.allow, matchText)}${table('is refused', preset.refuse, matchText)}${table('is refused in a JSON body', preset.json, jsonText)}`,
  );
  return `# Presets\n\nWhat \`preset: NAME\` puts into a rule of \`network.allow\`. The other keys of the rule add to it.\n${parts.join('')}`;
}

function table<T extends RequestMatch | JsonDeny>(
  title: string,
  entries: readonly Reasoned<T>[],
  text: (value: T) => string,
): string {
  if (entries.length === 0) return '';
  const rows = entries.map(({ value, why }) => `| \`${text(value).replaceAll('|', '\\|')}\` | ${why} |`);
  return `\n| ${title} | why |\n|---|---|\n${rows.join('\n')}\n`;
}
