import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib';
import { header } from './http-text.ts';
import type { ArrivedRequest } from './origin.ts';
import type { Step } from './outcome.ts';
import type { Result } from './run.ts';
import type { Stage } from './stage.ts';

export function lastOf(result: Result): Step {
  const step = result.steps.at(-1);
  if (step === undefined) throw new Error('no step');
  return step;
}

/** Requests that the origin got whole during a step. */
export function arrivedIn(step: Step): readonly ArrivedRequest[] {
  return step.stage.origin.requests.slice(step.before.requests);
}

/** Everything that left the gateway in a step, as the origin saw it. */
export function upstreamIn(step: Step): string {
  const { origin } = step.stage;
  const plain = origin.arrivals
    .slice(step.before.arrivals)
    .map(({ plain: text, raw, secure }) => (secure ? text : raw));
  const requests = arrivedIn(step).map(({ raw }) => raw);
  return Buffer.concat([...plain, ...requests, ...origin.messages.slice(step.before.messages)]).toString(
    'latin1',
  );
}

export function downstreamIn(step: Step): string {
  return step.reply.toString('latin1');
}

/** All that the gateway wrote down. */
export function logsOf(stage: Stage): string {
  return JSON.stringify([stage.bench.events, stage.requests, stage.bench.summaries]);
}

/** Real values of credentials. */
export function realValues(stage: Stage): readonly string[] {
  return Object.entries(stage.strings)
    .filter(([name, value]) => /_(REAL|REVOKED|FORMER)$/.test(name) && value.length > 0)
    .map(([, value]) => value);
}

/** The spellings in which a value could be recognised by someone who looks for it. */
export function spellings(value: string): readonly string[] {
  const bytes = Buffer.from(value, 'latin1');
  const base64 = (front: number): string => {
    const text = Buffer.concat([Buffer.alloc(front), bytes]).toString('base64');
    // Characters that depend on the neighbours are left away.
    return text.slice(Math.ceil((front * 4) / 3), -4);
  };
  return [
    value,
    base64(0),
    base64(1),
    base64(2),
    bytes.toString('base64url').slice(0, -3),
    bytes.toString('hex'),
    bytes.toString('hex').toUpperCase(),
    encodeURIComponent(value),
  ].filter((text) => text.length >= 8);
}

export function holds(text: string, values: readonly string[]): string | undefined {
  for (const value of values)
    if (spellings(value).some((spelt) => text.includes(spelt))) return value.slice(0, 12);
  return undefined;
}

/** A reply with its content coding undone. */
export function readable(step: Step): string {
  const parts = [downstreamIn(step)];
  for (const response of step.replies?.responses ?? [])
    parts.push(undone(response.body, header(response, 'content-encoding') ?? ''));
  return parts.join('\n');
}

function undone(body: Buffer, coding: string): string {
  try {
    if (/gzip/i.test(coding)) return gunzipSync(body).toString('latin1');
    if (/deflate/i.test(coding)) return inflateSync(body).toString('latin1');
    if (/br/i.test(coding)) return brotliDecompressSync(body).toString('latin1');
  } catch {
    return '';
  }
  return body.toString('latin1');
}
