import { TABLES, looksRandom, runFrom, tableOf, textAt } from './letters.ts';
import { named } from './pattern.ts';
import type { DlpPattern, PatternHit, Span } from './pattern.ts';

/** What manuals and local set-ups write for a password. */
const DUMMIES: ReadonlySet<string> = new Set([
  'admin',
  'changeit',
  'changeme',
  'default',
  'example',
  'guest',
  'letmein',
  'minioadmin',
  'mypass',
  'mypassword',
  'mysecretpassword',
  'mysql',
  'pass',
  'passwd',
  'password',
  'postgres',
  'postgresql',
  'pwd',
  'rabbitmq',
  'redis',
  'root',
  'sa',
  'secret',
  'test',
  'testing',
  'user',
  'username',
  'yourpassword',
]);

/** A password of six letters and more that is neither a word of manuals nor a gap to be filled in. */
const PASSWORD_LEAST = 6;

function isPassword(password: string, user: string): boolean {
  if (password.length < PASSWORD_LEAST || password === user) return false;
  // `${NAME}`, `<password>`, `{{x}}`, `%s`, `****`, `$PGPASSWORD`, `...`.
  if (/^[$<{%*[]|\$\{|\*\*\*|\.\.\.|%s/.test(password)) return false;
  if (/^(.)\1*$/.test(password)) return false;
  const plain = password.toLowerCase().replace(/[^a-z]/g, '');
  return plain === '' ? password.length >= 8 : !DUMMIES.has(plain);
}

const SCHEMES: ReadonlySet<string> = new Set([
  'amqp',
  'amqps',
  'clickhouse',
  'cockroachdb',
  'ftp',
  'ftps',
  'http',
  'https',
  'imap',
  'imaps',
  'jdbc:mysql',
  'ldap',
  'ldaps',
  'mariadb',
  'mongodb',
  'mongodb+srv',
  'mssql',
  'mysql',
  'mysql2',
  'nats',
  'oracle',
  'postgis',
  'postgres',
  'postgresql',
  'redis',
  'rediss',
  'sftp',
  'smb',
  'smtp',
  'smtps',
  'snowflake',
  'socks5',
  'sqlserver',
  'ssh',
]);
const SCHEME_LETTERS = tableOf('abcdefghijklmnopqrstuvwxyz0123456789+');
const SCHEME_MAX = 16;
/** Ends the user information: it may not stand in it unescaped (RFC 3986 §3.2.1). */
const USER_ENDS = tableOf('/?#@ \t\r\n"\'<>\\`,;()|');
const USER_INFO_MAX = 320;

const connectionString: DlpPattern = {
  id: 'connection-string',
  what: 'URL with a user and a password, such as postgres://user:password@host',
  literals: ['://'],
  find: (data, { start, end }) => {
    const stop = userInfoEnd(data, end);
    if (data[stop] !== 0x40 || stop === end) return undefined;
    const scheme = schemeBefore(data, start);
    if (!SCHEMES.has(scheme)) return undefined;
    const info = textAt(data, end, stop);
    const colon = info.indexOf(':');
    if (colon === -1 || !isPassword(info.slice(colon + 1), info.slice(0, colon))) return undefined;
    const host = textAt(data, stop + 1, stop + 12);
    return /^(localhost|127\.|\[::1\]|0\.0\.0\.0)/.test(host)
      ? undefined
      : { start: start - scheme.length, end: stop };
  },
};

/** Stops at the first byte that ends it, so a flood of `://` is read once. */
function userInfoEnd(data: Uint8Array, from: number): number {
  const last = Math.min(data.length, from + USER_INFO_MAX);
  let at = from;
  while (at < last && USER_ENDS[data[at] ?? 0] === 0) at++;
  return at;
}

function schemeBefore(data: Uint8Array, end: number): string {
  let start = end;
  while (start > 0 && end - start < SCHEME_MAX && SCHEME_LETTERS[data[start - 1] ?? 0] === 1) start--;
  return textAt(data, start, end);
}

const SEMICOLON = 0x3b;
/** Bytes of a connection string before and behind its password. */
const NEAR = 256;

/** Asked first: a flood of `Pwd=` without the rest of a connection string costs little. */
function hasNear(data: Uint8Array, byte: number, { start, end }: Span): boolean {
  const from = Math.max(0, start - NEAR);
  const length = Math.min(data.length, end + NEAR) - from;
  return Buffer.from(data.buffer, data.byteOffset + from, length).includes(byte);
}

const serverLogin: DlpPattern = {
  id: 'server-login',
  what: 'Connection string with Server or Data Source and a password',
  literals: ['Password=', 'password=', 'PWD=', 'Pwd='],
  find: (data, { start, end }) => {
    if (!hasNear(data, SEMICOLON, { start, end })) return undefined;
    const value = textAt(data, end, end + 64);
    const password = value.slice(0, value.search(/[;"'\s<&]|$/));
    if (!isPassword(password, '')) return undefined;
    const near = textAt(data, start - NEAR, end + NEAR);
    const names = /(?:Server|Data Source|Host|AccountEndpoint)=[^;\s]/i.test(near);
    return names ? { start: end, end: end + password.length } : undefined;
  },
};

const BASIC_MAX = 512;

/** The pair of RFC 7617, when it has a password. */
function basicPair(data: Uint8Array, start: number): PatternHit | undefined {
  const end = start + runFrom(data, start, TABLES.base64, BASIC_MAX);
  if (end - start < 8) return undefined;
  const inner = Buffer.from(textAt(data, start, end), 'base64');
  const text = inner.toString('latin1');
  const colon = text.indexOf(':');
  if (colon === -1 || /[\u0000-\u001f]/.test(text)) return undefined;
  return isPassword(text.slice(colon + 1), text.slice(0, colon)) ? { start, end, inner } : undefined;
}

const basicAuthorization: DlpPattern = {
  id: 'basic-authorization',
  what: 'Authorization: Basic with a user and a password',
  literals: ['Basic ', 'basic ', 'BASIC '],
  find: (data, { start, end }) =>
    /authorization["'\s:=,\\]{1,8}$/i.test(textAt(data, start - 24, start))
      ? basicPair(data, end)
      : undefined,
};

const dockerLogin: DlpPattern = {
  id: 'docker-login',
  what: 'Login of a container registry in config.json',
  literals: ['"auth":"', '"auth": "'],
  find: (data, { end }) => basicPair(data, end),
};

const NETRC_MAX = 400;

const netrcLogin: DlpPattern = {
  id: 'netrc-login',
  what: 'Line of a .netrc file with a password',
  literals: ['machine '],
  find: (data, { start, end }) => {
    const line = textAt(data, end, end + NETRC_MAX);
    const match =
      /^\s{0,8}\S{1,255}\s{1,8}(?:login\s{1,8}(\S{1,128})\s{1,8})?password\s{1,8}(\S{1,128})/.exec(line);
    if (match === null || !isPassword(match[2] ?? '', match[1] ?? '')) return undefined;
    return { start, end: end + match[0].length };
  },
};

const npmrcLogin: DlpPattern = {
  id: 'npmrc-login',
  what: 'Token or password of a registry in .npmrc',
  literals: [':_authToken=', ':_password=', ':_auth='],
  find: (data, { start, end }) => {
    const length = runFrom(data, end, TABLES.azure, 16);
    return length === 16 && looksRandom(data, end, end + length) ? { start, end: end + length } : undefined;
  },
};

const kubernetesKey = named('kubernetes-key', 'Client key of a kubeconfig file', {
  names: ['client-key-data'],
  value: ['base64', 100],
});

/** Names and passwords. */
export const LOGINS: readonly DlpPattern[] = [
  connectionString,
  serverLogin,
  basicAuthorization,
  dockerLogin,
  netrcLogin,
  npmrcLogin,
  kubernetesKey,
];
