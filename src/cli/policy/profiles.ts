import { readFileSync } from 'node:fs';
import { EXIT } from '../../base/exit-codes.ts';
import { GloveboxError } from '../../base/errors.ts';
import { readSmallFile } from '../../policy/files.ts';
import { importSrt } from '../../policy/import/srt.ts';
import { readDocument } from '../../policy/layers.ts';
import { formatProblem } from '../../policy/problems.ts';
import { profileFile, profileNames } from '../../policy/profiles.ts';
import type { CliIo } from '../contract.ts';
import { expectWords, verbArgs } from './args.ts';

/** Lists the built-in profiles, or prints one as it is written. */
export async function profilesVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { words } = verbArgs('profiles', args, {});
  expectWords('profiles', words, 1);
  const [name] = words;
  if (name !== undefined) {
    io.stdout.write(readFileSync(profileFile(name.replace(/^profile:/, '')), 'utf8'));
    return EXIT.ok;
  }
  const rows = profileNames().map((profile) => ({ name: profile, description: description(profile) }));
  if (io.json) io.stdout.write(`${JSON.stringify(rows, null, 2)}\n`);
  else io.stdout.write(`${rows.map((row) => `${row.name.padEnd(14)} ${row.description}`).join('\n')}\n`);
  return EXIT.ok;
}

/** Translates the settings of another sandbox into a policy on stdout. */
export async function importVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { values, words } = verbArgs('import', args, { partial: { type: 'boolean' } });
  expectWords('import', words, 2);
  const [format, name] = words;
  if (format !== 'srt')
    throw new GloveboxError('E_USAGE', {
      what: `policy import knows no format "${format ?? ''}"`,
      next: 'Use: glovebox policy import srt FILE',
    });
  if (name === undefined)
    throw new GloveboxError('E_USAGE', {
      what: 'policy import srt needs a file',
      next: 'Use: glovebox policy import srt FILE',
    });
  const file = readSmallFile(name, 'own');
  if (file === undefined) throw new GloveboxError('E_POLICY_NOT_FOUND', { what: `there is no file ${name}` });
  const { yaml, refused } = importSrt(name, file.bytes, { partial: values['partial'] === true });
  for (const problem of refused) io.stderr.write(`glovebox: ${formatProblem(problem)}\n`);
  io.stdout.write(yaml);
  return EXIT.ok;
}

function description(profile: string): string {
  const file = readSmallFile(profileFile(profile), 'package');
  return file === undefined ? '' : (readDocument(file).doc.description ?? '');
}
