import { CODE_CAPS } from './caps.ts';
import type { Chart, Execution, ExecutionError, Result, RunCodeOptions } from './contract.ts';
import { garbage } from './frames.ts';
import { countValues } from './weigh.ts';

/** What a kernel said at the end of a cell. */
interface Outcome {
  readonly executionCount: number;
  readonly error?: ExecutionError;
  readonly exitCode?: number;
}

export interface Ending {
  readonly timedOut: boolean;
  readonly contextLost: boolean;
  readonly limit?: 'output';
  /** In place of what the kernel would have said. */
  readonly error?: ExecutionError;
  readonly exitCode?: number;
}

export interface CollectorInput extends Pick<
  RunCodeOptions,
  'onStdout' | 'onStderr' | 'onResult' | 'onError'
> {
  /** Bytes that the cell may write and show, and what to do when it goes beyond. */
  readonly most?: { readonly bytes: number; readonly exceeded: () => void };
}

/** Gathers one cell: its output, its results and how it ended, each bounded. */
export class Collector {
  readonly #options: CollectorInput;
  readonly #started = performance.now();
  readonly #logs = { stdout: new Log(), stderr: new Log() };
  readonly #results: Result[] = [];
  #resultBytes = 0;
  #resultValues = 0;
  /** Of everything that came, kept or not. */
  #bytes = 0;
  #dropped = false;
  #outcome: Outcome | undefined;

  constructor(options: CollectorInput) {
    this.#options = options;
  }

  output(stream: 'stdout' | 'stderr', data: Buffer): void {
    const text = this.#logs[stream].add(this.#within(data));
    if (text === '') return;
    if (stream === 'stdout') this.#options.onStdout?.(text);
    else this.#options.onStderr?.(text);
  }

  /** @throws E_CODE_KERNEL */
  result(body: Buffer): void {
    this.#resultBytes += body.length;
    if (this.#within(body).length < body.length) this.#dropped = true;
    if (!this.#hasRoom(body)) {
      this.#dropped = true;
      return;
    }
    const { result, whole } = readResult(body);
    if (!whole) this.#dropped = true;
    this.#results.push(result);
    this.#options.onResult?.(result);
  }

  /** Asked before anything is made of it. */
  #hasRoom(body: Buffer): boolean {
    if (this.#results.length >= CODE_CAPS.results || this.#resultBytes > CODE_CAPS.resultBytes) return false;
    const most = CODE_CAPS.resultValues - this.#resultValues;
    const values = countValues(body, most);
    if (values <= most) this.#resultValues += values;
    return values <= most;
  }

  /** What of it the policy still lets the cell write. */
  #within(data: Buffer): Buffer {
    const { most } = this.#options;
    if (most === undefined) return data;
    const room = Math.max(0, most.bytes - this.#bytes);
    const isFirst = this.#bytes <= most.bytes;
    this.#bytes += data.length;
    if (data.length <= room) return data;
    this.#dropped = true;
    if (isFirst) most.exceeded();
    return data.subarray(0, room);
  }

  /** @throws E_CODE_KERNEL */
  done(body: Buffer): void {
    if (countValues(body, CODE_CAPS.resultValues) > CODE_CAPS.resultValues) throw garbage('too many values');
    this.#outcome = readOutcome(body);
    if (this.#outcome.error !== undefined) this.#options.onError?.(this.#outcome.error);
  }

  execution(count: number, ending: Ending): Execution {
    const { stdout, stderr } = this.#logs;
    const text = this.#results.find((result) => result.isMainResult)?.text;
    const error = ending.error ?? this.#outcome?.error;
    if (ending.error !== undefined) this.#options.onError?.(ending.error);
    const exitCode = ending.exitCode ?? this.#outcome?.exitCode;
    return {
      results: this.#results,
      logs: { stdout: stdout.end(), stderr: stderr.end() },
      ...(error === undefined ? {} : { error }),
      ...(exitCode === undefined ? {} : { exitCode }),
      executionCount: count,
      ...(text === undefined ? {} : { text }),
      ...(ending.limit === undefined ? {} : { limit: ending.limit }),
      timedOut: ending.timedOut,
      contextLost: ending.contextLost,
      truncated: stdout.truncated || stderr.truncated || this.#dropped,
      durationMs: Math.round(performance.now() - this.#started),
    };
  }
}

/** Text of one stream, cut at a number of bytes. */
class Log {
  readonly #pieces: string[] = [];
  readonly #decoder = new TextDecoder();
  #bytes = 0;
  truncated = false;

  add(data: Buffer): string {
    const room = CODE_CAPS.outputBytes - this.#bytes;
    if (data.length > room) this.truncated = true;
    this.#bytes += Math.min(data.length, Math.max(0, room));
    const text = this.#decoder.decode(data.subarray(0, Math.max(0, room)), { stream: true });
    if (text !== '') this.#pieces.push(text);
    return text;
  }

  end(): readonly string[] {
    const rest = this.#decoder.decode();
    if (rest !== '') this.#pieces.push(rest);
    return this.#pieces;
  }
}

const TEXT_FORMATS = [
  'text',
  'html',
  'markdown',
  'svg',
  'png',
  'jpeg',
  'pdf',
  'latex',
  'javascript',
] as const;

const DATA_FORMATS: Readonly<Record<string, (value: unknown) => boolean>> = {
  json: () => true,
  data: isTable,
  chart: isChart,
  extra: isRecord,
};

/** `whole` is false when the kernel or this left something out because of its size. */
function readResult(body: Buffer): { readonly result: Result; readonly whole: boolean } {
  const value = readRecord(body);
  const known: Record<string, unknown> = {};
  for (const name of TEXT_FORMATS) if (typeof value[name] === 'string') known[name] = value[name];
  let whole = value['dropped'] !== true;
  for (const [name, fits] of Object.entries(DATA_FORMATS)) {
    const form = value[name];
    if (form === undefined || !fits(form)) continue;
    if (isShallow(form, CODE_CAPS.resultDepth)) known[name] = form;
    else whole = false;
  }
  const names = Object.freeze(Object.keys(known));
  const isMainResult = value['isMainResult'] === true;
  return { result: Object.freeze({ ...known, isMainResult, formats: () => names }), whole };
}

function isShallow(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return levels > 0 && Object.values(value).every((one) => isShallow(one, levels - 1));
}

function readOutcome(body: Buffer): Outcome {
  const value = readRecord(body);
  const { executionCount, exitCode } = value;
  const error = isRecord(value['error']) ? readError(value['error']) : undefined;
  return {
    executionCount: isCount(executionCount) ? executionCount : 0,
    ...(error === undefined ? {} : { error }),
    ...(isCount(exitCode) ? { exitCode } : {}),
  };
}

function readError(value: Readonly<Record<string, unknown>>): ExecutionError {
  const { errno, path } = value;
  return {
    name: textOf(value['name']),
    value: textOf(value['value']),
    traceback: textOf(value['traceback']),
    ...(isCount(errno) ? { errno } : {}),
    ...(typeof path === 'string' ? { path } : {}),
  };
}

function readRecord(body: Buffer): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(body.toString());
  } catch {
    throw garbage('something that is not JSON');
  }
  if (!isRecord(value)) throw garbage('a frame that is no object');
  return value;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

function isTable(value: unknown): value is NonNullable<Result['data']> {
  return isRecord(value) && Object.values(value).every((column) => Array.isArray(column));
}

const CHARTS: ReadonlySet<unknown> = new Set([
  'line',
  'scatter',
  'bar',
  'pie',
  'box_and_whisker',
  'superchart',
  'unknown',
]);

function isChart(value: unknown): value is Chart {
  return isRecord(value) && CHARTS.has(value['type']) && Array.isArray(value['elements']);
}
