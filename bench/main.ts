import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { packageVersion } from '../src/base/version.ts';
import { program, type Context, type Subject } from './lib/context.ts';
import { load, machineLine } from './lib/machine.ts';
import { readOptions, USAGE, type Options } from './lib/options.ts';
import { findPeer, type PeerAnswer } from './lib/peer.ts';
import { Place } from './lib/place.ts';
import { report } from './lib/report.ts';
import type { RunRecord, SubjectRecord } from './lib/result.ts';
import { SUBJECTS } from './subjects/table.ts';

export interface Directories {
  /** Where the bundled helper programs are. */
  readonly programs: string;
  /** Where results are stored. */
  readonly results: string;
}

/** Measures, prints and stores. Answers 1 when a subject broke; times are shown and never judged by the exit code. */
export async function main(args: readonly string[], directories: Directories): Promise<number> {
  const options = readOptions(args);
  const chosen = chooseSubjects(options.names);
  if (options.help || chosen === undefined) {
    const list = SUBJECTS.map((subject) => `  ${subject.name.padEnd(14)}  ${subject.summary}`);
    console.error([USAGE, ...list].join('\n'));
    return options.help ? 0 : 2;
  }
  if (!existsSync(program())) {
    console.error(`${program()} is not there: run npm run build first`);
    return 2;
  }
  const place = new Place();
  const leave = (): never => {
    place.remove();
    process.exit(130);
  };
  process.once('SIGINT', leave).once('SIGTERM', leave);
  try {
    const run = await measure(chosen, contextOf(options, directories, place));
    console.log(report(run, options.markdown));
    console.log(`Stored in ${store(run, directories.results)}`);
    return run.subjects.some((subject) => subject.error !== undefined) ? 1 : 0;
  } finally {
    place.remove();
  }
}

function chooseSubjects(names: readonly string[]): readonly Subject[] | undefined {
  if (names.length === 0) return SUBJECTS;
  const chosen = SUBJECTS.filter((subject) => names.includes(subject.name));
  return chosen.length === new Set(names).size ? chosen : undefined;
}

function contextOf(options: Options, directories: Directories, place: Place): Context {
  let answer: PeerAnswer | undefined;
  const peer = (): PeerAnswer => (answer ??= options.peer ? findPeer() : { why: 'left out by --no-peer' });
  const { budgetMs } = options;
  return {
    place,
    programs: directories.programs,
    peer,
    rounds: (count) => options.rounds ?? count,
    budgetMs,
  };
}

async function measure(subjects: readonly Subject[], context: Context): Promise<RunRecord> {
  const records: SubjectRecord[] = [];
  for (const subject of subjects) {
    console.error(`${subject.name}: ${subject.summary}`);
    records.push(await measureOne(subject, context));
  }
  return {
    v: 1,
    at: new Date().toISOString(),
    version: packageVersion(),
    machine: machineLine(),
    subjects: records,
  };
}

/** A subject that breaks is told of and does not take the others with it. */
async function measureOne(subject: Subject, context: Context): Promise<SubjectRecord> {
  const started = Date.now();
  const before = load();
  const close = () => ({ load: { before, after: load() }, seconds: (Date.now() - started) / 1000 });
  try {
    const result = await subject.run(context);
    return { name: subject.name, ...result, ...close() };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { name: subject.name, series: [], comparisons: [], skips: [], error: text, ...close() };
  }
}

function store(run: RunRecord, directory: string): string {
  mkdirSync(directory, { recursive: true });
  const file = path.join(directory, `${run.at.replaceAll(':', '-')}.json`);
  writeFileSync(file, `${JSON.stringify(run, undefined, 2)}\n`);
  return path.relative(process.cwd(), file);
}
