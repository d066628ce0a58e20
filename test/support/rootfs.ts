import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/** Programs of a small root file system. */
const PROGRAMS = [
  '/bin/sh',
  '/bin/bash',
  '/bin/ls',
  '/bin/cat',
  '/usr/bin/id',
  '/usr/bin/env',
  '/usr/bin/touch',
  '/usr/bin/mkdir',
  '/bin/ln',
  '/usr/bin/stat',
  '/bin/chown',
  '/bin/rm',
];

/** Makes a root file system that runs a shell: programs of this machine and the libraries that they load. */
export function smallRootfs(dir: string): string {
  for (const sub of ['usr/bin', 'usr/lib', 'usr/lib64', 'etc', 'var/tmp', 'opt/tool', 'tmp', 'proc', 'dev'])
    mkdirSync(path.join(dir, sub), { recursive: true });
  for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, path.join(dir, name));
  for (const program of PROGRAMS) copyFileSync(program, path.join(dir, 'usr/bin', path.basename(program)));
  for (const library of librariesOf(PROGRAMS)) {
    const target = path.join(
      dir,
      library.startsWith('/lib64') ? `/usr${library}` : library.replace(/^\/lib\//, '/usr/lib/'),
    );
    mkdirSync(path.dirname(target), { recursive: true });
    copyFileSync(library, target);
  }
  writeFileSync(
    path.join(dir, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/bash\nwww-data:$6$hash:33:33:www:/var/www:/usr/sbin/nologin\n',
  );
  writeFileSync(path.join(dir, 'etc/shadow'), 'root:$6$hash:1::::::\n');
  writeFileSync(path.join(dir, 'etc/marker'), 'from the image\n');
  writeFileSync(path.join(dir, 'opt/tool/version'), '1\n');
  return dir;
}

function librariesOf(programs: readonly string[]): readonly string[] {
  const text = programs.map((program) => execFileSync('ldd', [program], { encoding: 'utf8' })).join('\n');
  return [...new Set([...text.matchAll(/(\/\S+\.so\S*)/g)].map((match) => match[1] ?? ''))];
}

/** The tree as a tar archive of GNU tar. */
export function tarTree(dir: string, file: string, ...options: readonly string[]): string {
  const done = spawnSync('tar', [...options, '-C', dir, '-cf', file, '.'], { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(done.stderr);
  return file;
}
