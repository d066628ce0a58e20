import { CODE_CAPS } from './caps.ts';
import type { Chart, Execution, ExecutionError, Result, RunCodeOptions } from './contract.ts';
import { garbage } from './frames.ts';

/** What a kernel said at the end of a cell. */
interface Outcome {
  readonly executionCount: number;
  readonly error?: ExecutionError;
  readonly exitCode?: number;
}

export interface Ending {
  readonly timedOut: boolean;
  readonly contextLost: boolean;
  /** In place of what the kernel would have said. */
  readonly error?: ExecutionError;
  readonly exitCode?: number;
}

/** Gathers one cell: its output, its results and how it ended, each bounded. */
export class Collector {
  readonly #options: RunCodeOptions;
  readonly #started = performance.now();
  readonly #logs = { stdout: new Log(), stderr: new Log() };
  readonly #results: Result[] = [];
  #resultBytes = 0;
  #dropped = false;
  #outcome: Outcome | undefined;

  constructor(options: RunCodeOptions) {
    this.#options = options;
  }

  output(stream: 'stdout' | 'stderr', data: Buffer): void {
    const text = this.#logs[stream].add(data);
    if (text === '') return;
    if (stream === 'stdout') this.#options.onStdout?.(text);
    else this.#options.onStderr?.(text);
  }

  /** @throws E_CODE_KERNEL */
  result(body: Buffer): void {
    this.#resultBytes += body.length;
    const room = this.#results.length < CODE_CAPS.results && this.#resultBytes <= CODE_CAPS.resultBytes;
    if (!room) this.#dropped = true;
    if (!room) return;
    const result = readResult(body);
    this.#results.push(result);
    this.#options.onResult?.(result);
  }

  /** @throws E_CODE_KERNEL */
  done(body: Buffer): void {
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

function readResult(body: Buffer): Result {
  const value = readRecord(body);
  const known: Record<string, unknown> = {};
  for (const name of TEXT_FORMATS) if (typeof value[name] === 'string') known[name] = value[name];
  if (value['json'] !== undefined) known['json'] = value['json'];
  if (isTable(value['data'])) known['data'] = value['data'];
  if (isChart(value['chart'])) known['chart'] = value['chart'];
  if (isRecord(value['extra'])) known['extra'] = value['extra'];
  const names = Object.freeze(Object.keys(known));
  return Object.freeze({ ...known, isMainResult: value['isMainResult'] === true, formats: () => names });
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

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

const isTable = (value: unknown): value is NonNullable<Result['data']> =>
  isRecord(value) && Object.values(value).every((column) => Array.isArray(column));

const CHARTS: ReadonlySet<unknown> = new Set([
  'line',
  'scatter',
  'bar',
  'pie',
  'box_and_whisker',
  'superchart',
  'unknown',
]);

const isChart = (value: unknown): value is Chart =>
  isRecord(value) && CHARTS.has(value['type']) && Array.isArray(value['elements']);
