import { TABLES, looksRandom, runBefore, runFrom, tableOf, textAt } from './letters.ts';
import { named } from './pattern.ts';
import type { DlpPattern, PatternHit, Span } from './pattern.ts';

const { alnum, anyhex, base64, base64url, digits } = TABLES;

/** AWS's documentation ends its example ids so. */
const EXAMPLE = 'EXAMPLE';

const awsAccessKey: DlpPattern = {
  id: 'aws-access-key',
  what: 'AWS access key id (the examples of the documentation are not one)',
  literals: ['AKIA', 'ASIA', 'ABIA', 'ACCA'],
  find: (data, { start, end }) => {
    if (start > 0 && TABLES.upper[data[start - 1] ?? 0] === 1) return undefined;
    const length = runFrom(data, end, TABLES.base32, 17);
    if (length !== 16 || TABLES.upper[data[end + 16] ?? 0] === 1) return undefined;
    if (textAt(data, end, end + 16).endsWith(EXAMPLE) || !looksRandom(data, end, end + 16)) return undefined;
    return { start, end: end + 16 };
  },
};

/** A secret key is 40 letters of base64 and nothing else: only a name beside it tells it from a digest. */
function isAwsSecret(data: Uint8Array, start: number, end: number): boolean {
  const text = textAt(data, start, end);
  return /[a-z]/.test(text) && /[A-Z]/.test(text) && /[0-9+/]/.test(text) && !text.endsWith('EXAMPLEKEY');
}

const awsSecretKey = named('aws-secret-key', 'AWS secret access key beside its name', {
  names: [
    'ecret_access_key',
    'ECRET_ACCESS_KEY',
    'ecret-access-key',
    'ecretAccessKey',
    'ws_secret_key',
    'WS_SECRET_KEY',
    'wsSecretKey',
  ],
  value: ['base64', 40, 40],
  check: isAwsSecret,
});

const awsSessionToken = named('aws-session-token', 'AWS session token beside its name', {
  names: ['ws_session_token', 'WS_SESSION_TOKEN', 'essionToken', 'ecurity-token', 'ecurity-Token'],
  value: ['base64', 100],
});

/** Bytes of a head line such as `Proc-Type` and what stands between it and the key. */
const PEM_BODY_WITHIN = 512;
/** A line of a key; `MIIE...` in an explanation has fewer. */
const PEM_BODY_RUN = 40;
const PEM_LABEL = tableOf('ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ');

const pemPrivateKey: DlpPattern = {
  id: 'private-key',
  what: 'Private key in PEM, OpenSSH, SSH2 or PGP form, with its content',
  literals: ['-----BEGIN ', '---- BEGIN SSH2 '],
  find: (data, { start, end }) => {
    const labelEnd = end + runFrom(data, end, PEM_LABEL, 48);
    const label = textAt(data, end, labelEnd).trimEnd();
    if (!label.endsWith('PRIVATE KEY') && !label.endsWith('PRIVATE KEY BLOCK')) return undefined;
    if (textAt(data, labelEnd, labelEnd + 4) !== '----') return undefined;
    const body = base64Within(data, labelEnd + 4, PEM_BODY_WITHIN);
    return body === undefined ? undefined : { start, end: body };
  },
};

/** The end of the first long run of base64. */
function base64Within(data: Uint8Array, from: number, most: number): number | undefined {
  const stop = Math.min(data.length, from + most);
  for (let at = from; at < stop; at++) {
    const length = runFrom(data, at, base64, PEM_BODY_RUN);
    if (length === PEM_BODY_RUN && looksRandom(data, at, at + length)) return at + length;
    at += length;
  }
  return undefined;
}

const puttyKey: DlpPattern = {
  id: 'putty-key',
  what: 'Private part of a PuTTY key file',
  literals: ['Private-Lines: '],
  find: (data, { start, end }) => {
    const body = base64Within(data, end + runFrom(data, end, digits, 4), 8);
    return body === undefined ? undefined : { start, end: body };
  },
};

/** The private member of an elliptic or RSA key has at least 32 bytes. */
const JWK_PRIVATE = 42;
const JWK_NEAR = 1024;

const jwkPrivateKey: DlpPattern = {
  id: 'jwk-private-key',
  what: 'Private key as JSON Web Key (RFC 7517)',
  literals: ['"d":"', '"d": "'],
  find: (data, { start, end }) => {
    const length = runFrom(data, end, base64url, JWK_PRIVATE);
    if (length < JWK_PRIVATE || !looksRandom(data, end, end + length)) return undefined;
    const near = textAt(data, start - JWK_NEAR, end + JWK_NEAR);
    return near.includes('"kty"') ? { start, end: end + length } : undefined;
  },
};

const JWT_HEADER_MAX = 2048;
const JWT_PART_MAX = 16_384;

/** RFC 7519 §3: header.payload.signature. Only the beginning of a run is looked at, so that every byte is read once. */
const jwt: DlpPattern = {
  id: 'jwt',
  what: 'Signed JSON Web Token (the examples of jwt.io are not one)',
  literals: ['eyJ', 'ewog'],
  find: (data, { start }) => {
    if (start > 0 && base64url[data[start - 1] ?? 0] === 1) return undefined;
    const header = jwtPart(data, start, JWT_HEADER_MAX);
    if (header === undefined || data[header] !== 0x2e) return undefined;
    const payload = jwtPart(data, header + 1, JWT_PART_MAX);
    if (payload === undefined || data[payload] !== 0x2e) return undefined;
    const signature = payload + 1 + runFrom(data, payload + 1, base64url, JWT_PART_MAX);
    if (signature - payload < 20) return undefined;
    const decode = (from: number, end: number): string =>
      Buffer.from(textAt(data, from, end), 'base64url').toString('latin1');
    if (!/"alg"\s{0,8}:\s{0,8}"[A-Za-z]/.test(decode(start, header))) return undefined;
    const body = decode(header + 1, payload);
    return body.startsWith('{') && !/"sub"\s?:\s?"1234567890"/.test(body)
      ? { start, end: signature }
      : undefined;
  },
};

function jwtPart(data: Uint8Array, from: number, most: number): number | undefined {
  const length = runFrom(data, from, base64url, most);
  return length < 2 ? undefined : from + length;
}

const gcpServiceAccount = named('gcp-service-account', 'Google Cloud service account file', {
  names: ['private_key_id'],
  value: ['hex', 40, 40],
});

const azureStorageKey = named('azure-storage-key', 'Azure storage or service bus key', {
  names: ['AccountKey', 'SharedAccessKey', 'accountKey'],
  value: ['base64', 43, 86],
});

const azureClientSecret: DlpPattern = {
  id: 'azure-client-secret',
  what: 'Azure client secret',
  literals: ['7Q~', '8Q~', '9Q~'],
  find: (data, { start, end }) => {
    if (runBefore(data, start, TABLES.azure, 4) !== 3) return undefined;
    const length = runFrom(data, end, TABLES.azure, 35);
    const fits = length >= 31 && length <= 34 && looksRandom(data, end, end + length);
    return fits ? { start: start - 3, end: end + length } : undefined;
  },
};

/** Azure DevOps tokens carry their mark at letter 76 of 84. */
const azureDevops: DlpPattern = {
  id: 'azure-devops-token',
  what: 'Azure DevOps token',
  literals: ['AZDO'],
  find: (data, { start, end }) => {
    const whole = runBefore(data, start, alnum, 77) === 76 && runFrom(data, end, alnum, 5) === 4;
    return whole && looksRandom(data, start - 76, start) ? { start: start - 76, end: end + 4 } : undefined;
  },
};

const openaiMarked: DlpPattern = {
  id: 'openai-marked-key',
  what: 'OpenAI API key by its inner mark',
  literals: ['T3BlbkFJ'],
  find: (data, { start, end }) => {
    const before = runBefore(data, start, base64url, 160);
    const behind = runFrom(data, end, base64url, 160);
    const from = start - before;
    const fits = before >= 20 && behind >= 20 && textAt(data, from, from + 3) === 'sk-';
    return fits ? { start: from, end: end + behind } : undefined;
  },
};

const telegramToken: DlpPattern = {
  id: 'telegram-token',
  what: 'Telegram bot token',
  literals: [':AA'],
  find: (data, { start, end }) => {
    const id = runBefore(data, start, digits, 11);
    if (id < 8 || id > 10 || runFrom(data, end, base64url, 34) !== 33) return undefined;
    return looksRandom(data, end, end + 33) ? { start: start - id, end: end + 33 } : undefined;
  },
};

const mailchimpKey: DlpPattern = {
  id: 'mailchimp-key',
  what: 'Mailchimp API key',
  literals: ['-us'],
  find: (data, { start, end }) => {
    const zone = runFrom(data, end, alnum, 3);
    if (zone < 1 || zone > 2 || runFrom(data, end, digits, 3) !== zone) return undefined;
    if (runBefore(data, start, anyhex, 33) !== 32 || !looksRandom(data, start - 32, start)) return undefined;
    return { start: start - 32, end: end + zone };
  },
};

const terraformToken: DlpPattern = {
  id: 'terraform-token',
  what: 'HCP Terraform token',
  literals: ['.atlasv1.'],
  find: (data, { start, end }) => around(data, { start, end }, 14, 60),
};

/** Letters before and behind a mark. */
function around(
  data: Uint8Array,
  { start, end }: Span,
  before: number,
  behind: number,
): PatternHit | undefined {
  if (runBefore(data, start, alnum, before) !== before) return undefined;
  if (runFrom(data, end, base64url, behind) !== behind || !looksRandom(data, end, end + behind))
    return undefined;
  return { start: start - before, end: end + behind };
}

/** Keys that are known by more than a beginning. */
export const KEYS: readonly DlpPattern[] = [
  awsAccessKey,
  awsSecretKey,
  awsSessionToken,
  pemPrivateKey,
  puttyKey,
  jwkPrivateKey,
  jwt,
  gcpServiceAccount,
  azureStorageKey,
  azureClientSecret,
  azureDevops,
  openaiMarked,
  telegramToken,
  mailchimpKey,
  terraformToken,
];
