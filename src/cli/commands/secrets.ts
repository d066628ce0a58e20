import type { ReadStream } from 'node:tty';
import { GloveboxError } from '../../base/errors.ts';
import { EXIT } from '../../base/exit-codes.ts';
import { nearest } from '../../base/nearest.ts';
import { gloveboxDirs } from '../../base/paths.ts';
import { openStore, type SecretStore } from '../../secrets/store.ts';
import type { CliCommand, CliIo } from '../contract.ts';

type Verb = (store: SecretStore, names: readonly string[], io: CliIo) => Promise<number>;

const VERBS: Readonly<Record<string, Verb>> = { set: setSecret, list: listSecrets, remove: removeSecret };

/** The largest value read, with room for the newline; the store's own limit is lower. */
const INPUT_MAX = 64 * 1024;

export const secretsCommand: CliCommand = {
  name: 'secrets',
  summary: 'keep credentials in an encrypted file, for machines without a password manager',
  usage: `Usage: glovebox secrets set NAME       read the value from standard input, or ask for it without showing it
       glovebox secrets list           names and times; values are never shown
       glovebox secrets remove NAME

      --json            for list: one JSON object

A policy uses it as \`credentials: { mine: { from: store:NAME, … } }\`. The file is $XDG_CONFIG_HOME/glovebox/secrets.store, encrypted with
$GLOVEBOX_STORE_PASSPHRASE, or with a random key in $XDG_STATE_HOME/glovebox: then it is as safe as that directory is, and a
password manager (\`from: { command: [pass, show, NAME] }\`) is better.`,
  run: async (args, io) => {
    const [name, ...names] = args;
    const verb = name !== undefined && Object.hasOwn(VERBS, name) ? VERBS[name] : undefined;
    if (verb === undefined) throw unknownVerb(name);
    const dirs = gloveboxDirs(io.env);
    return verb(openStore({ env: io.env, configDir: dirs.config, stateDir: dirs.state }), names, io);
  },
};

async function setSecret(store: SecretStore, names: readonly string[], io: CliIo): Promise<number> {
  const name = oneName(names, 'set');
  const value = await readValue(name, io);
  try {
    await store.set(name, value);
  } finally {
    value.fill(0);
  }
  io.stderr.write(`glovebox: ${name} is stored\n`);
  return EXIT.ok;
}

async function listSecrets(store: SecretStore, names: readonly string[], io: CliIo): Promise<number> {
  if (names.length > 0) throw usage('secrets list takes no name');
  const secrets = await store.list();
  const rows = secrets.map(({ name, changedAt }) => ({ name, changedAt: new Date(changedAt).toISOString() }));
  if (io.json) io.stdout.write(`${JSON.stringify({ secrets: rows })}\n`);
  else for (const row of rows) io.stdout.write(`${row.changedAt}  ${row.name}\n`);
  return EXIT.ok;
}

async function removeSecret(store: SecretStore, names: readonly string[], io: CliIo): Promise<number> {
  const name = oneName(names, 'remove');
  if (await store.remove(name)) {
    io.stderr.write(`glovebox: ${name} is removed\n`);
    return EXIT.ok;
  }
  const known = (await store.list()).map((secret) => secret.name);
  const near = nearest(name, known);
  throw new GloveboxError('E_USAGE', {
    what: `there is no stored secret "${name}"`,
    next: near === undefined ? 'Run `glovebox secrets list`.' : `Did you mean ${near}?`,
  });
}

/** A value on the command line would stand in the shell's history and in the process list, so there is no such form. */
async function readValue(name: string, io: CliIo): Promise<Buffer> {
  if (!io.stdin.isTTY) return readPiped(io.stdin);
  io.stderr.write(`value for ${name} (not shown): `);
  const value = await readHidden(io.stdin);
  io.stderr.write('\n');
  return value;
}

async function readPiped(stdin: NodeJS.ReadableStream): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk);
    length += bytes.length;
    if (length > INPUT_MAX) throw usage('the value is too long');
    chunks.push(bytes);
  }
  return withoutNewline(Buffer.concat(chunks));
}

/** One line without echo. Ctrl-C and Ctrl-D give up. */
function readHidden(stdin: ReadStream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const bytes: number[] = [];
    const finish = (act: () => void): void => {
      stdin.off('data', onData).setRawMode(false).pause();
      act();
    };
    const onData = (chunk: Buffer): void => {
      for (const byte of chunk) {
        if (byte === 3 || byte === 4) return finish(() => reject(usage('no value was given')));
        if (byte === 10 || byte === 13) return finish(() => resolve(Buffer.from(bytes)));
        if (byte === 8 || byte === 127) bytes.pop();
        else if (bytes.length < INPUT_MAX) bytes.push(byte);
      }
    };
    stdin.setRawMode(true).on('data', onData).resume();
  });
}

function withoutNewline(value: Buffer): Buffer {
  if (value.at(-1) !== 10) return value;
  return value.subarray(0, value.at(-2) === 13 ? -2 : -1);
}

function oneName(names: readonly string[], verb: string): string {
  const [name, ...more] = names;
  if (name === undefined) throw usage(`secrets ${verb} needs a name`);
  if (more.length > 0) throw usage(`secrets ${verb} takes one name; a value is read from standard input`);
  return name;
}

function unknownVerb(name: string | undefined): GloveboxError {
  const verbs = Object.keys(VERBS);
  if (name === undefined) return usage(`secrets needs one of ${verbs.join(', ')}`);
  const near = nearest(name, verbs);
  return new GloveboxError('E_USAGE', {
    what: `there is no secrets command "${name}"`,
    next: near === undefined ? 'Run `glovebox help secrets`.' : `Did you mean \`glovebox secrets ${near}\`?`,
  });
}

function usage(what: string): GloveboxError {
  return new GloveboxError('E_USAGE', { what, next: 'Run `glovebox help secrets`.' });
}
