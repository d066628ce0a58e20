import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/** Where peers and scratch trees of the benchmarks live. */
export function cacheDirectory(): string {
  const named = process.env['XDG_CACHE_HOME'];
  const base = named !== undefined && path.isAbsolute(named) ? named : path.join(homedir(), '.cache');
  return path.join(base, 'glovebox-bench');
}

/** A scratch tree with a home of its own: neither the user's policy nor their audit log takes part. */
export class Place {
  readonly root: string;
  readonly home: string;

  constructor() {
    mkdirSync(cacheDirectory(), { recursive: true });
    this.root = realpathSync(mkdtempSync(path.join(cacheDirectory(), 'run-')));
    this.home = path.join(this.root, 'home');
    mkdirSync(this.home);
  }

  /** A new empty directory below the home, as a project would lie there. */
  workspace(name: string): string {
    const dir = path.join(this.home, name);
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(dir, { recursive: true });
    return dir;
  }

  /** The environment of everything that is measured. Another `state` name means a user who never ran it before. */
  env(state = 'user'): NodeJS.ProcessEnv {
    const dir = (name: string): string => {
      const made = path.join(this.root, state, name);
      mkdirSync(made, { recursive: true, mode: 0o700 });
      return made;
    };
    return {
      PATH: process.env['PATH'],
      LANG: 'C.UTF-8',
      HOME: this.home,
      XDG_CONFIG_HOME: dir('config'),
      XDG_STATE_HOME: dir('state'),
      XDG_CACHE_HOME: dir('cache'),
      XDG_RUNTIME_DIR: dir('run'),
    };
  }

  /** Forgets what was remembered under a `state` name. */
  forgetCache(state: string): void {
    rmSync(path.join(this.root, state, 'cache'), { recursive: true, force: true });
  }

  write(name: string, text: string): string {
    const file = path.join(this.root, name);
    writeFileSync(file, text);
    return file;
  }

  remove(): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Fills a directory with small files, at most `perDirectory` in each folder of one level. */
export function fillTree(
  root: string,
  files: number,
  name: (index: number) => string,
  perDirectory = 100,
): void {
  for (let i = 0; i < files; i++) {
    const dir = path.join(root, `d${Math.floor(i / perDirectory)}`);
    if (i % perDirectory === 0) mkdirSync(dir, { recursive: true });
    writeFileSync(path.join(dir, name(i)), 'x\n');
  }
}
