import { execFile } from 'node:child_process';
import { GloveboxError } from '../base/errors.ts';
import type { AgentProbe } from './contract.ts';

/** Milliseconds; the probe itself takes a few. */
const PROBE_LIMIT_MS = 10_000;

/** What this machine offers to the airlock and the inside stage. Throws `E_SANDBOX_START` when the agent cannot run. */
export function probeAgent(agent: string): Promise<AgentProbe> {
  return new Promise((resolve, reject) => {
    execFile(agent, ['probe'], { env: {}, timeout: PROBE_LIMIT_MS }, (error, stdout) => {
      if (error !== null) {
        const what = `cannot execute ${agent}`;
        reject(new GloveboxError('E_SANDBOX_START', { what, why: error.message, cause: error }));
        return;
      }
      // Our own binary on the host: its output is trusted.
      const probe: AgentProbe = JSON.parse(stdout);
      resolve(probe);
    });
  });
}
