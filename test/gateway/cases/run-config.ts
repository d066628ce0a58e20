import { importEgress } from '../../../src/policy/import/egress.ts';
import { loadDocument } from '../../../src/policy/import/load-document.ts';
import type { LoadedDocument } from '../../../src/policy/import/load-document.ts';
import type { Input } from './load.ts';
import { marksOf } from './outcome.ts';
import type { Step } from './outcome.ts';
import type { Run } from './session.ts';

/** A configuration through the importer that users have. */
export async function runConfig(run: Run, input: Input): Promise<Step> {
  const stage = await run.stage(input);
  const before = marksOf(stage);
  const read = readConfig(input.network);
  const reply = Buffer.from(read.said);
  const outcome = read.loaded === undefined ? 'config-error' : 'allow';
  return {
    stage,
    input,
    before,
    sent: Buffer.alloc(0),
    reply,
    closed: true,
    outcome,
    facts: { loaded: read.loaded },
  };
}

export interface ReadConfig {
  readonly loaded: LoadedDocument | undefined;
  /** Problems, or notices. */
  readonly said: string;
}

export function readConfig(network: unknown): ReadConfig {
  const result = importEgress(network);
  if (!result.ok) return { loaded: undefined, said: JSON.stringify(result.problems) };
  const loaded = loadDocument(result.document);
  return { loaded, said: JSON.stringify([...result.notices, ...loaded.notices]) };
}
