import { readFileSync } from 'node:fs';

/** One row of the case file; fields that an operation does not know are left alone. */
export interface Case {
  readonly id: string;
  readonly layer: string;
  readonly input: Input;
  readonly policy: string;
  readonly expect: string;
  readonly accept?: readonly string[];
  readonly level?: 'should';
  readonly why: string;
  readonly assert?: string;
}

export interface Input {
  readonly op: string;
  readonly host?: string;
  readonly hostHex?: string;
  readonly port?: number;
  readonly answers?: readonly string[];
  readonly second?: readonly string[];
  readonly dialFails?: readonly string[];
  readonly timeout?: boolean;
  readonly dst?: string;
  readonly sni?: string | null;
  readonly sniHex?: string;
  readonly sniList?: readonly string[];
  readonly sniExtensions?: readonly string[];
  readonly ext?: readonly string[];
  readonly segments?: number;
  readonly records?: number;
  readonly authority?: string;
  readonly raw?: string;
  readonly hex?: string;
  readonly then?: { readonly sni?: string; readonly bytes?: string; readonly samePacket?: boolean };
  readonly cmd?: number;
  readonly atyp?: number;
  readonly rsv?: number;
  readonly pipelined?: string;
  readonly name?: string;
  readonly type?: string;
  readonly opcode?: string;
  readonly transport?: string;
  readonly edns?: object;
  readonly proto?: string;
  readonly request?: string;
  readonly response?: string;
  readonly http?: string;
  readonly steps?: readonly Input[];
}

export interface CaseFile {
  readonly blocked: readonly string[];
  readonly fixtures: { readonly names: Readonly<Record<string, { readonly A: readonly string[] }>> };
  readonly cases: readonly Case[];
}

export function loadCases(): CaseFile {
  const file = new URL('../fixtures/egress-cases-dev.json', import.meta.url);
  const cases: CaseFile = JSON.parse(readFileSync(file, 'utf8'));
  return cases;
}

/** Replaces the placeholders that rows of this half use; an unknown one is an error, never passed on. */
export function expand(text: string): string {
  const values: Readonly<Record<string, string>> = {
    GATEWAY_IP: '127.0.0.1',
    HOST_IFACE_IP: '203.0.114.5',
    ADMIN_PORT: '9999',
    OTHER_SANDBOX_IP: '10.77.0.2',
    'b64:x:SANDBOX_TOKEN': Buffer.from(`x:${SANDBOX_TOKEN}`).toString('base64'),
  };
  return text.replace(/\$\{([^}]*)\}/g, (_all, key: string) => {
    const repeated = /^repeat-lines:(.*):(\d+)$/.exec(key);
    if (repeated !== null) return `${repeated[1] ?? ''}\r\n`.repeat(Number(repeated[2]));
    const chunked = /^chunked:(\d+)$/.exec(key);
    if (chunked !== null) return chunkedBody(Number(chunked[1]));
    const value = values[key];
    if (value === undefined) throw new Error(`no value for \${${key}}`);
    return value;
  });
}

export const SANDBOX_TOKEN = 'sandbox-token-7f3a';

function chunkedBody(bytes: number): string {
  const size = 16_384;
  let out = '';
  for (let left = bytes; left > 0; left -= size) {
    const now = Math.min(size, left);
    out += `${now.toString(16)}\r\n${'a'.repeat(now)}\r\n`;
  }
  return `${out}0\r\n\r\n`;
}
