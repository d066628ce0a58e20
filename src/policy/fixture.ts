import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { isGloveboxError, type GloveboxError } from '../base/errors.ts';
import type { PolicyContext } from './contract.ts';

/** A home, a project and an organisation of their own, for tests. */
export class PolicyFixture implements Disposable {
  readonly root = realpathSync(mkdtempSync(path.join(tmpdir(), 'glovebox-policy-')));
  readonly home = path.join(this.root, 'home');
  readonly workspace = path.join(this.home, 'work');
  readonly context: PolicyContext = {
    cwd: this.workspace,
    env: { XDG_RUNTIME_DIR: path.join(this.root, 'run') },
    home: this.home,
    configDir: path.join(this.home, '.config/glovebox'),
    stateDir: path.join(this.home, '.local/state/glovebox'),
    cacheDir: path.join(this.home, '.cache/glovebox'),
    organisationFile: path.join(this.root, 'etc/policy.yaml'),
  };

  constructor() {
    for (const dir of [this.workspace, this.context.configDir, path.dirname(this.context.organisationFile)])
      mkdirSync(dir, { recursive: true });
  }

  organisation(text: string): string {
    return this.write(this.context.organisationFile, text);
  }

  user(text: string): string {
    return this.write(path.join(this.context.configDir, 'policy.yaml'), text);
  }

  project(text: string): string {
    return this.write(path.join(this.workspace, 'glovebox.yaml'), text);
  }

  write(file: string, text: string | Uint8Array): string {
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, text);
    chmodSync(file, 0o644);
    return file;
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** The GloveboxError that an action throws; anything else is thrown on. */
export function caught(action: () => unknown): GloveboxError {
  try {
    action();
  } catch (error) {
    if (isGloveboxError(error)) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
