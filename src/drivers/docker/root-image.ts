import { createHash } from 'node:crypto';
import { unsupported, type RootEntry } from './view.ts';

/** The image that a container starts from: directories and symbolic links, no file. Everything else is mounted. */
export interface RootImage {
  /** Repository and tag; the tag is the hash of the archive. */
  readonly name: string;
  /** A tar archive, as `docker import -` takes it. */
  readonly archive: Buffer;
}

const REPOSITORY = 'glovebox/root';
const BLOCK = 512;

/** The image of a root. The same entries give the same bytes, so that an engine has one for all sandboxes alike. Pure. */
export function rootImage(entries: readonly RootEntry[]): RootImage {
  const blocks = [...entries]
    .filter(({ path }) => path !== '/')
    .sort((one, other) => (one.path < other.path ? -1 : 1))
    .map(header);
  const archive = Buffer.concat([...blocks, Buffer.alloc(2 * BLOCK)]);
  const hash = createHash('sha256').update(archive).digest('hex');
  return { name: `${REPOSITORY}:${hash.slice(0, 32)}`, archive };
}

/** Type flags of POSIX.1-1988 ustar. */
const TYPE = { dir: '5', symlink: '2' } as const;

function header(entry: RootEntry): Buffer {
  const block = Buffer.alloc(BLOCK);
  const name = `${entry.path.slice(1)}${entry.kind === 'dir' ? '/' : ''}`;
  put(block, name, { at: 0, room: 100, entry });
  octal(block, entry.kind === 'dir' ? entry.mode : 0o777, { at: 100, digits: 7 });
  for (const at of [108, 116]) octal(block, 0, { at, digits: 7 });
  for (const at of [124, 136]) octal(block, 0, { at, digits: 11 });
  block.write(TYPE[entry.kind], 156);
  if (entry.kind === 'symlink') put(block, entry.to, { at: 157, room: 100, entry });
  block.write('ustar\x0000', 257, 'latin1');
  block.fill(' ', 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

function put(
  block: Buffer,
  text: string,
  { at, room, entry }: { readonly at: number; readonly room: number; readonly entry: RootEntry },
): void {
  if (Buffer.byteLength(text) > room) throw unsupported(entry.path, `its name has more than ${room} bytes`);
  block.write(text, at);
}

function octal(
  block: Buffer,
  value: number,
  { at, digits }: { readonly at: number; readonly digits: number },
): void {
  block.write(value.toString(8).padStart(digits, '0'), at, 'latin1');
}
