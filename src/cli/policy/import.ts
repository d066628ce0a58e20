import { stringify } from 'yaml';
import { EXIT } from '../../base/exit-codes.ts';
import { GloveboxError } from '../../base/errors.ts';
import { readSmallFile } from '../../policy/files.ts';
import { importEgress } from '../../policy/import/egress.ts';
import { importSrt } from '../../policy/import/srt.ts';
import { parsePolicyFile, type ParsedFile } from '../../policy/parse.ts';
import { formatProblem, printable, problemsError } from '../../policy/problems.ts';
import type { CliIo } from '../contract.ts';
import { expectWords, verbArgs } from './args.ts';

const FORMATS = ['srt', 'egress'] as const;

/** Translates the settings of another sandbox or gateway into a policy on stdout. */
export async function importVerb(args: readonly string[], io: CliIo): Promise<number> {
  const { values, words } = verbArgs('import', args, { partial: { type: 'boolean' } });
  expectWords('import', words, 2);
  const [format, name] = words;
  const known = FORMATS.find((one) => one === format);
  if (known === undefined)
    throw new GloveboxError('E_USAGE', {
      what: `policy import knows no format "${format ?? ''}"`,
      next: `Use: ${FORMATS.map((one) => `glovebox policy import ${one} FILE`).join(', or ')}`,
    });
  if (name === undefined)
    throw new GloveboxError('E_USAGE', {
      what: `policy import ${known} needs a file`,
      next: `Use: glovebox policy import ${known} FILE`,
    });
  const file = readSmallFile(name, 'own');
  if (file === undefined) throw new GloveboxError('E_POLICY_NOT_FOUND', { what: `there is no file ${name}` });
  io.stdout.write(
    known === 'egress'
      ? egressYaml(name, file.bytes)
      : srtYaml(name, file.bytes, { partial: values['partial'] === true, io }),
  );
  return EXIT.ok;
}

function srtYaml(
  name: string,
  bytes: Uint8Array,
  { partial, io }: { readonly partial: boolean; readonly io: CliIo },
): string {
  const { yaml, refused } = importSrt(name, bytes, { partial });
  for (const problem of refused) io.stderr.write(`glovebox: ${formatProblem(problem)}\n`);
  return yaml;
}

/** A file holds the settings themselves, or one key `network` with them. */
function egressYaml(name: string, bytes: Uint8Array): string {
  const parsed = parsePolicyFile(name, bytes);
  const { value, prefix } = networkOf(parsed);
  const result = importEgress(value);
  if (!result.ok)
    throw problemsError(
      result.problems.map(({ path, ...problem }) => ({
        ...(problem.key.startsWith('translated ') ? {} : { position: parsed.at([...prefix, ...path]) }),
        ...problem,
      })),
    );
  const comments = ['Translated from network settings.', ...result.notices];
  return `${comments.map((line) => `# ${printable(line)}`).join('\n')}\n${stringify(result.document)}`;
}

function networkOf({ value }: ParsedFile): { readonly value: unknown; readonly prefix: readonly string[] } {
  const isWrapped =
    typeof value === 'object' && value !== null && 'network' in value && Object.keys(value).length === 1;
  return isWrapped ? { value: value.network, prefix: ['network'] } : { value, prefix: [] };
}
