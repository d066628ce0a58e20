import { METHODS } from '../net/http-head.ts';
import type { Verdict } from './contract.ts';

/** Status lines of refusals and of failures on the way. */
const TITLES: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  417: 'Expectation Failed',
  421: 'Misdirected Request',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

/** Header lines and body of a refusal. */
export interface Problem {
  readonly status: number;
  readonly title: string;
  /** Flat list of names and values. */
  readonly headers: readonly string[];
  readonly body: string;
}

/** A refusal for a person and a program at once (RFC 9457). It names the rule and how to allow; it never holds a secret. */
export function problemOf(status: number, verdict: Verdict): Problem {
  const title = TITLES[status] ?? 'Refused';
  const body = `${JSON.stringify({
    type: 'about:blank',
    title,
    status,
    detail: `glovebox: ${verdict.reason}`,
    rule: verdict.rule,
    source: verdict.source,
    remedy: verdict.remedy,
  })}\n`;
  // RFC 9110 §15.5.6 demands the line with every 405.
  const allow = status === 405 ? ['Allow', [...(verdict.methods ?? METHODS)].join(', ')] : [];
  return build(status, title, body, ['X-Glovebox-Denied', verdict.rule, ...allow]);
}

/** A failure of the network behind an allowed destination: not a decision, so without the header of one. */
export function failureOf(status: 502 | 504, detail: string): Problem {
  const title = TITLES[status] ?? 'Bad Gateway';
  return build(
    status,
    title,
    `${JSON.stringify({ type: 'about:blank', title, status, detail: `glovebox: ${detail}` })}\n`,
    [],
  );
}

/** The problem as the bytes of an HTTP/1.1 response on a connection that ends with it. */
export function problemBytes(problem: Problem): string {
  const lines: string[] = [];
  for (let i = 0; i + 1 < problem.headers.length; i += 2)
    lines.push(`${problem.headers[i]}: ${problem.headers[i + 1]}\r\n`);
  return `HTTP/1.1 ${problem.status} ${problem.title}\r\n${lines.join('')}Connection: close\r\n\r\n${problem.body}`;
}

/** Status of a refusal by its rule: a budget is "too many", everything else "forbidden". */
export function statusOf(verdict: Verdict): number {
  if (verdict.rule === 'structural.malformed') return 400;
  if (verdict.rule === 'structural.too-many-connections') return 503;
  return verdict.rule.includes('.budget.') || verdict.rule.includes('.limits.') ? 429 : 403;
}

function build(status: number, title: string, body: string, extra: readonly string[]): Problem {
  const headers = [
    'Content-Type',
    'application/problem+json',
    'Content-Length',
    String(Buffer.byteLength(body)),
    ...extra,
  ];
  return { status, title, headers, body };
}
