import { randomBytes } from 'node:crypto';
import { link, open, readFile, rename, unlink } from 'node:fs/promises';
import path from 'node:path';
import { GloveboxError, systemCode } from '../base/errors.ts';
import { ensurePrivateDir } from '../base/paths.ts';
import type { SourceContext } from './contract.ts';
import { keyKindOf, sealStore, STORE_FILE_MAX, unsealStore } from './store-file.ts';
import type { KeyKind, StoreEntry } from './store-file.ts';
import { withStoreLock } from './store-lock.ts';
import { secretValue } from './value.ts';

/** A secret as `glovebox secrets list` shows it. */
export interface StoredSecret {
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly changedAt: number;
}

/**
 * The encrypted file that `glovebox secrets` keeps: a last resort for machines without a password manager. The key is the passphrase in
 * $GLOVEBOX_STORE_PASSPHRASE, or else a random key in the state directory, which protects the file's copies (backups, a synchronised
 * home directory) and not against whoever can read both.
 */
export interface SecretStore {
  list(): Promise<readonly StoredSecret[]>;
  /** The caller overwrites the buffer when done. */
  get(name: string): Promise<Buffer | undefined>;
  /** @throws E_CREDENTIAL_INVALID for a name or value that cannot be used. */
  set(name: string, value: Buffer): Promise<void>;
  /** False when there was none of that name. */
  remove(name: string): Promise<boolean>;
}

type StoreContext = Pick<SourceContext, 'env' | 'configDir' | 'stateDir'>;

const ENTRIES_MAX = 1000;

/** Opens the store of an environment; nothing is read or made before the first call. */
export function openStore(context: StoreContext): SecretStore {
  const file = path.join(context.configDir, 'secrets.store');
  const change = <T>(edit: (entries: StoreEntry[]) => T): Promise<T> =>
    withStoreLock(`${ensurePrivateDir(context.configDir)}/secrets.lock`, async () => {
      const entries = [...(await load(file, context))];
      const answer = edit(entries);
      await save(file, entries, context);
      wipe(entries);
      return answer;
    });
  return {
    list: async () => {
      const entries = await load(file, context);
      wipe(entries);
      return entries.map(({ name, changedAt }) => ({ name, changedAt }));
    },
    get: async (name) => {
      const entries = await load(file, context);
      const found = entries.find((entry) => entry.name === name);
      wipe(entries.filter((entry) => entry !== found));
      return found?.value;
    },
    set: async (name, value) => {
      checkName(name);
      const copy = secretValue(Buffer.from(value), `the value for ${name}`, 'keep');
      await change((entries) => put(entries, { name, value: copy, changedAt: Date.now() }));
    },
    remove: (name) =>
      change((entries) => {
        const at = entries.findIndex((entry) => entry.name === name);
        if (at !== -1) wipe(entries.splice(at, 1));
        return at !== -1;
      }),
  };
}

function checkName(name: string): void {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(name)) return;
  throw new GloveboxError('E_CREDENTIAL_INVALID', {
    what: 'this cannot be the name of a stored secret',
    why: 'a name is 1 to 64 letters, digits, dots, hyphens and underscores, and begins with a letter or digit',
    next: 'Choose another name.',
  });
}

function put(entries: StoreEntry[], entry: StoreEntry): void {
  const at = entries.findIndex((other) => other.name === entry.name);
  if (at !== -1) wipe(entries.splice(at, 1, entry));
  else entries.push(entry);
  if (entries.length > ENTRIES_MAX)
    throw new GloveboxError('E_CREDENTIAL_INVALID', {
      what: `the store holds ${ENTRIES_MAX} secrets already`,
    });
}

function wipe(entries: readonly StoreEntry[]): void {
  for (const entry of entries) entry.value.fill(0);
}

async function load(file: string, context: StoreContext): Promise<readonly StoreEntry[]> {
  const bytes = await readIfThere(file);
  if (bytes === undefined) return [];
  const kind = bytes.length > STORE_FILE_MAX ? undefined : keyKindOf(bytes);
  if (kind === undefined) throw broken(file, 'it is no store of this version');
  const key = await existingKey(kind, context);
  const entries = await unsealStore(bytes, key);
  key.fill(0);
  if (entries !== undefined) return entries;
  throw broken(
    file,
    kind === 'passphrase' ? 'the passphrase is wrong, or the file was changed' : 'its key does not fit',
  );
}

async function save(file: string, entries: readonly StoreEntry[], context: StoreContext): Promise<void> {
  const kind: KeyKind = passphraseOf(context) === undefined ? 'file' : 'passphrase';
  const key = kind === 'file' ? await keyFile(context) : await existingKey(kind, context);
  try {
    await replaceFile(file, await sealStore(entries, key, kind));
  } finally {
    key.fill(0);
  }
}

async function existingKey(kind: KeyKind, context: StoreContext): Promise<Buffer> {
  if (kind === 'passphrase') {
    const passphrase = passphraseOf(context);
    if (passphrase !== undefined) return Buffer.from(passphrase);
    throw new GloveboxError('E_CREDENTIAL_SOURCE', {
      what: 'the secret store was made with a passphrase',
      next: 'Set GLOVEBOX_STORE_PASSPHRASE.',
    });
  }
  const key = await readIfThere(keyPath(context));
  if (key?.length === 32) return key;
  throw broken(keyPath(context), 'the key of the secret store is missing or cut');
}

/** The random key, made on first use. Two that make it at once end up with one: `link` does not replace. */
async function keyFile(context: StoreContext): Promise<Buffer> {
  ensurePrivateDir(context.stateDir);
  const file = keyPath(context);
  const there = await readIfThere(file);
  if (there !== undefined) return existingKey('file', context);
  const temporary = await writeTemporary(file, randomBytes(32));
  await link(temporary, file).catch((error: unknown) => {
    if (systemCode(error) !== 'EEXIST') throw unwritable(file, error);
  });
  await unlink(temporary);
  return existingKey('file', context);
}

function keyPath(context: StoreContext): string {
  return path.join(context.stateDir, 'secrets.key');
}

function passphraseOf(context: StoreContext): string | undefined {
  const value = context.env['GLOVEBOX_STORE_PASSPHRASE'];
  return value === undefined || value === '' ? undefined : value;
}

async function replaceFile(file: string, bytes: Buffer): Promise<void> {
  const temporary = await writeTemporary(file, bytes);
  await rename(temporary, file);
}

async function writeTemporary(file: string, bytes: Buffer): Promise<string> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    await handle.writeFile(bytes);
    await handle.sync();
    await handle.close();
    return temporary;
  } catch (error) {
    throw unwritable(file, error);
  }
}

async function readIfThere(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw broken(file, systemCode(error) ?? 'it cannot be read');
  }
}

function broken(file: string, why: string): GloveboxError {
  return new GloveboxError('E_CREDENTIAL_SOURCE', { what: `cannot use ${file}`, why });
}

function unwritable(file: string, error: unknown): GloveboxError {
  return new GloveboxError('E_IO', {
    what: `cannot write ${file}`,
    why: systemCode(error) ?? 'unknown reason',
  });
}
