import type { AgentProcess, BootSpec } from './contract.ts';
import type { AgentFileAccess } from './files-contract.ts';
import { collect, JAIL_ENV, type JailSite } from './jail.fixture.ts';
import type { AgentSession } from './session.ts';

/** A serving jail for tests of file work. */
export interface ServingJail {
  readonly session: AgentSession;
  readonly files: AgentFileAccess;
  /** Starts a shell script in the workspace. */
  start(script: string): AgentProcess;
  /** Its output. */
  sh(script: string): Promise<string>;
  close(): Promise<void>;
}

export async function openJail(site: JailSite, boot: Partial<BootSpec> = {}): Promise<ServingJail> {
  const jail = await site.launch({ mode: 'serve', ...boot });
  const { session } = jail;
  const start = (script: string): AgentProcess =>
    session.exec({ argv: ['bash', '-c', script], env: JAIL_ENV, cwd: site.workspace });
  return {
    session,
    files: session.files,
    start,
    sh: async (script) => {
      const process = start(script);
      const [stdout] = await Promise.all([collect(process.stdout), collect(process.stderr), process.exit]);
      return stdout;
    },
    close: async () => {
      await session.shutdown(100);
      await jail.exited;
    },
  };
}
