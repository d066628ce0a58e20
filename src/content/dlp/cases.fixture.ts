import type { Case, Input } from '../../../test/gateway/cases/load.ts';
import { expandBytes } from '../../../test/gateway/cases/expand.ts';
import type { Strings } from '../../../test/gateway/cases/expand.ts';

/** Rows of the case file as the scanner meets them. */

export { base32, expandBytes, zipOf } from '../../../test/gateway/cases/expand.ts';
export type { Strings } from '../../../test/gateway/cases/expand.ts';
export { BASE32, fixtureStrings, randomText, signedJwt } from '../../../test/gateway/cases/values.ts';

export interface BuiltRequest {
  readonly target: string;
  readonly headers: readonly string[];
  readonly body: Buffer;
}

/** The request that a row's `raw` makes: the body whole, chunks joined. */
export function buildRequest(raw: string, strings: Strings): BuiltRequest {
  const bytes = expandBytes(raw, strings);
  const border = bytes.indexOf('\r\n\r\n');
  const sent = bytes.subarray(border + 4);
  const [start = '', ...lines] = bytes.subarray(0, border).toString('latin1').split('\r\n');
  const headers = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return [
      line.slice(0, colon),
      line
        .slice(colon + 1)
        .trim()
        .replace('${len}', String(sent.length)),
    ];
  });
  const chunked = /^transfer-encoding: *chunked/im.test(lines.join('\n'));
  return { target: start.split(' ')[1] ?? '', headers, body: chunked ? unchunk(sent) : sent };
}

function unchunk(sent: Buffer): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (;;) {
    const end = sent.indexOf('\r\n', at);
    const size = Number.parseInt(sent.subarray(at, end).toString('latin1'), 16);
    if (!(size > 0)) return Buffer.concat(parts);
    parts.push(sent.subarray(end + 2, end + 2 + size));
    at = end + 4 + size;
  }
}

/** The steps of a row, one after the other. */
export function stepsOf(row: Case): readonly Input[] {
  return row.input.steps ?? [row.input];
}
