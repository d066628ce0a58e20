import type { Case } from './load.ts';

/** Why a row cannot run yet; undefined when it runs. Every row is in one of the two. */
export function pendingReason(row: Case): string | undefined {
  return BY_ID[row.id] ?? byLayer(row);
}

const PATHS = 'path, method, query and header rules come with the inspected gateway';
const TLS = 'needs TLS interception';
const PACKET = 'no socket of that kind exists in the namespace: checked by the airlock tests';
const RELOAD = 'a gateway has one policy for its life: a new policy is a new sandbox';

const BY_ID: Readonly<Record<string, string>> = {
  R28: 'the host resolver answers with addresses of the asked name only; there is no answer name to compare',
  C63: 'no header rules on plain http; allowed by "accept"',
  Q13: PATHS,
  Q14: PATHS,
  Q17: PATHS,
  Q18: PATHS,
  Q27: PATHS,
  Q28: PATHS,
  Q31: PATHS,
  Q42: PATHS,
  Q43: PATHS,
  Q44: PATHS,
  X11: PATHS,
  U01: PATHS,
  U04: PATHS,
  U05: PATHS,
  W01: PATHS,
  W03: PATHS,
  S36: TLS,
  S37: TLS,
  W12: 'WebSocket frames are not read',
  W14: 'WebSocket frames are not read',
  W15: 'needs the credential broker',
  Q19: 'needs the credential broker',
  T15: TLS,
  T29: TLS,
  T30: TLS,
  T31: TLS,
  T32: TLS,
  T33: TLS,
  T36: TLS,
  T37: TLS,
  T39: TLS,
  T44: TLS,
  T45: TLS,
  B10: 'budgets last as long as the sandbox; a restarted gateway is a new sandbox',
  B12: 'refused requests are rate-limited in the record, not counted in the budget; allowed by "accept"',
  U10: 'the audit sink is another room',
  N25: RELOAD,
  N27: RELOAD,
  N29: 'the namespace has no route: checked by the airlock tests',
  N31: 'identity is the listener: checked by the airlock tests',
  N23: PACKET,
};

function byLayer(row: Case): string | undefined {
  switch (row.layer) {
    case 'pin':
      return 'needs pins';
    case 'credential':
    case 'redirect-ssrf':
      return row.layer === 'credential' || row.policy === 'P-cred'
        ? 'needs the credential broker'
        : undefined;
    case 'dlp':
      return 'needs DLP';
    case 'path':
      return PATHS;
    case 'http2-grpc':
      return 'HTTP/2 exists only inside intercepted TLS';
    case 'policy-config':
      return 'policy loading is another room';
    default:
      return row.input.op === 'packet' && row.input.proto !== 'tcp' ? PACKET : undefined;
  }
}
