import { canonicalJson } from '../base/canonical-json.ts';
import type { AuditRecord } from './contract.ts';
import { auditDir, logFiles, type LogFile } from './files.ts';
import { rawLines, type RawLine } from './lines.ts';
import { EMPTY_HEAD, lineHash, parseRecord, type Head } from './record.ts';

export interface VerifyOptions {
  readonly stateDir: string;
  /** A head noted earlier: it has to be in the chain still. Detects a log that was cut off or replaced. */
  readonly expectHead?: Head;
}

/** Something that a writer of this log never leaves. */
export interface AuditProblem {
  readonly file: string;
  /** Counts from 1; 0 for the file as a whole. */
  readonly line: number;
  /** Sequence number where the chain should be. */
  readonly seq: number;
  readonly what: string;
}

export interface AuditReport {
  readonly ok: boolean;
  readonly records: number;
  readonly files: number;
  /** Note it elsewhere: it proves everything up to here. */
  readonly head: Head;
  /** The first ones; after a break, the chain is followed from the next record on. */
  readonly problems: readonly AuditProblem[];
}

const MAX_PROBLEMS = 100;

/** Checks every line of the log: form, number, and the hash of the line before. */
export async function verifyAudit(options: VerifyOptions): Promise<AuditReport> {
  const files = logFiles(auditDir(options.stateDir));
  const walk = new Walk(options.expectHead);
  for (const file of files) {
    walk.enter(file);
    for await (const line of rawLines(file.path)) walk.line(line);
  }
  return walk.report(files.length);
}

class Walk {
  readonly #expected: Head | undefined;
  readonly #problems: AuditProblem[] = [];
  #seenExpected = false;
  #head: Head = EMPTY_HEAD;
  #records = 0;
  #file = '';
  #named: number | undefined;

  constructor(expected: Head | undefined) {
    this.#expected = expected;
  }

  enter(file: LogFile): void {
    this.#file = file.name;
    this.#named = file.firstSeq;
  }

  line(line: RawLine): void {
    const text = line.bytes.toString('utf8');
    const record = parseRecord(text);
    if (record === undefined) {
      const what = line.complete ? 'is not a record' : 'ends in an unfinished record';
      this.#problem(line.number, what);
      return;
    }
    if (!line.complete) this.#problem(line.number, 'has no newline at its end');
    if (canonicalJson(JSON.parse(text)) !== text)
      this.#problem(line.number, 'is not in canonical form: it was edited');
    this.#link(record, line.number);
    this.#head = { seq: record.seq, hash: lineHash(line.bytes) };
    this.#records++;
    const expected = this.#expected;
    if (expected?.seq === record.seq && expected.hash === this.#head.hash) this.#seenExpected = true;
  }

  report(files: number): AuditReport {
    if (this.#expected !== undefined && !this.#seenExpected) {
      const { seq } = this.#expected;
      const what =
        seq > this.#head.seq
          ? `the log ends at record ${this.#head.seq}: what came up to ${seq} was cut off`
          : `record ${seq} is not the one that was noted: the log was replaced`;
      this.#problem(0, what);
    }
    const problems = this.#problems;
    return { ok: problems.length === 0, records: this.#records, files, head: this.#head, problems };
  }

  #link(record: AuditRecord, line: number): void {
    const next = this.#head.seq + 1;
    if (record.seq !== next) {
      const gap =
        record.seq > next
          ? `records ${next} to ${record.seq - 1} are missing`
          : `record ${next} was expected here`;
      this.#problem(line, `has number ${record.seq}: ${gap}`);
    } else if (record.prev !== this.#head.hash) {
      this.#problem(line, 'does not continue the line before: one of the two was changed');
    }
    if (line === 1 && this.#named !== undefined && this.#named !== record.seq) {
      this.#problem(line, `has number ${record.seq}, the name of the file says ${this.#named}`);
    }
  }

  #problem(line: number, what: string): void {
    if (this.#problems.length >= MAX_PROBLEMS) return;
    this.#problems.push({ file: this.#file, line, seq: this.#head.seq + 1, what });
  }
}
