import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Mount } from './contract.ts';
import { imageViewFacts } from './image-view.ts';
import type { ViewFacts } from './view.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync('/var/tmp/gb-view-');
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const BARE: ViewFacts = { hidden: [], system: [], trees: [], trust: { bundle: false, java: false } };

function make(...names: readonly string[]): void {
  for (const name of names) {
    const [file = '', link] = name.split(' -> ');
    mkdirSync(path.join(root, file.endsWith('/') ? file : path.dirname(file)), { recursive: true });
    if (link !== undefined) symlinkSync(link, path.join(root, file));
    else if (!file.endsWith('/')) writeFileSync(path.join(root, file), '');
  }
}

const tmpfs = (target: string): Mount => ({ kind: 'tmpfs', target, bytes: 1, mode: 0o700, why: '' });
const file = (target: string): Mount => ({ kind: 'file', target, content: '', why: '' });

/** `dir PATH`, `link PATH`, `bind PATH` in order. The host's own bundle of certificates is left aside. */
function view(overlays: readonly Mount[], links: Readonly<Record<string, string>> = {}): readonly string[] {
  const base = { root, label: 'image', env: [], resolve: (inside: string) => links[inside] };
  const facts = imageViewFacts(BARE, base, overlays);
  const kind = (fact: ViewFacts['system'][number]): string =>
    fact.dir === true ? 'dir' : fact.link === undefined ? 'bind' : 'link';
  return facts.system
    .map((fact) => `${kind(fact)} ${fact.path}`)
    .filter((line) => !line.includes('/etc/ssl'));
}

describe('imageViewFacts', () => {
  it('binds the top level as it is, and assembles /etc', () => {
    make(
      'usr/bin/',
      'bin -> usr/bin',
      'proc/x',
      'sys/',
      'dev/null',
      'tmp/',
      '.glovebox/agent',
      'etc/hosts',
      'etc/marker',
      'etc/shadow',
      'etc/sub/x',
      'README',
    );
    expect(view([tmpfs('/tmp'), file('/etc/hosts')])).toEqual([
      'bind /README',
      'link /bin',
      'dir /etc',
      'bind /etc/marker',
      'bind /etc/sub',
      'bind /usr',
    ]);
  });

  it('binds whole what has the place for a mount, and assembles what has not', () => {
    make('etc/', 'var/tmp/', 'var/log/', 'home/ann/', 'srv/x');
    expect(view([tmpfs('/var/tmp'), tmpfs('/home/ben'), tmpfs('/opt/y')])).toEqual([
      'dir /etc',
      'dir /home',
      'bind /home/ann',
      'bind /srv',
      'bind /var',
    ]);
  });

  it('assembles as deep as it must and no deeper', () => {
    make('etc/', 'a/b/c/d/', 'a/b/x', 'a/y/');
    expect(view([tmpfs('/a/b/c/new')])).toEqual([
      'dir /a',
      'dir /a/b',
      'dir /a/b/c',
      'bind /a/b/c/d',
      'bind /a/b/x',
      'bind /a/y',
      'dir /etc',
    ]);
  });

  it('a file or symlink on the way to a mount gives way', () => {
    make('etc/', 'home -> usr/home', 'usr/home/ann/', 'srv', 'var/run -> /run', 'var/x');
    expect(view([tmpfs('/home/ann'), tmpfs('/srv/data'), tmpfs('/var/run/y')])).toEqual([
      'dir /etc',
      'dir /home',
      'dir /srv',
      'bind /usr',
      'dir /var',
      'dir /var/run',
      'bind /var/x',
    ]);
  });

  it('what is covered whole is left out, and a kind that differs never counts as a place', () => {
    make('etc/', 'work/old', 'data/file/');
    expect(view([tmpfs('/work'), file('/data/file')])).toEqual(['dir /data', 'dir /etc']);
  });

  it('symlinks of /etc are resolved inside, or left out', () => {
    make('usr/share/zone', 'etc/localtime -> ../usr/share/zone', 'etc/mtab -> /proc/mounts');
    const facts = view([], { '/etc/localtime': path.join(root, 'usr/share/zone') });
    expect(facts).toEqual(['dir /etc', 'bind /etc/localtime', 'bind /usr']);
  });

  it('a directory with too many entries is refused where it must be assembled', () => {
    make('etc/', ...Array.from({ length: 2100 }, (_, i) => `home/user${i}/`));
    expect(view([])).toEqual(['dir /etc', 'bind /home']);
    expect(() => view([tmpfs('/home/new')])).toThrow('more than 2000 entries');
  });

  it('takes well-formed accounts and variables alone', () => {
    make('etc/');
    const accounts = path.join(root, 'etc/passwd');
    writeFileSync(
      accounts,
      'www:$6$hash:33:33::/:/bin/sh\nbroken:x:1\n$(id):x:1:1::/:/\nok:x:5:5:a\tb:/:/x\n',
    );
    const base = {
      root,
      label: 'image',
      env: ['A=1=2', '=x', 'B', 'BAD-NAME=1', 'C='],
      resolve: (inside: string) => (inside === '/etc/passwd' ? accounts : undefined),
    };
    const { image } = imageViewFacts(BARE, base, []);
    expect(image?.passwd).toEqual(['www:x:33:33::/:/bin/sh', 'ok:x:5:5:a\tb:/:/x']);
    expect(image?.env).toEqual({ A: '1=2', C: '' });
    expect(image?.shell).toBe('/bin/sh');
  });
});
