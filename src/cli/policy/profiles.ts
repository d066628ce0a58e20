import { readFileSync } from 'node:fs';
import { EXIT } from '../../base/exit-codes.ts';
import { readSmallFile } from '../../policy/files.ts';
import { readDocument } from '../../policy/layers.ts';
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
  else io.stdout.write(`${rows.map((row) => `${row.name.padEnd(18)} ${row.description}`).join('\n')}\n`);
  return EXIT.ok;
}

function description(profile: string): string {
  const file = readSmallFile(profileFile(profile), 'package');
  return file === undefined ? '' : (readDocument(file).doc.description ?? '');
}
