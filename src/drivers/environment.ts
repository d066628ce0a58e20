import { isWithin } from '../base/path-bytes.ts';
import type { Policy } from '../policy/contract.ts';
import { NEVER_PASSED } from '../policy/environment-names.ts';
import type { PlanListener } from './contract.ts';
import { secretVariables } from './inspection.ts';
import { listenerPort } from './listeners.ts';
import type { ImageFacts } from './view.ts';

/** Where programs of the base system live; the caller's own PATH may name directories that are not visible. */
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface EnvironmentInput {
  readonly policy: Policy;
  readonly host: NodeJS.ProcessEnv;
  readonly home: string;
  readonly listeners: readonly PlanListener[];
  /** Trees visible inside: directories of the caller's PATH in them are kept. */
  readonly visible: readonly string[];
  /** What an image says about itself weighs less than what Glovebox and the policy say. */
  readonly image?: Pick<ImageFacts, 'env' | 'shell'>;
}

/** The complete environment of a command: nothing is inherited that the policy does not name. */
export function planEnvironment(input: EnvironmentInput): Readonly<Record<string, string>> {
  const { image } = input;
  const env: Record<string, string> = {
    LANG: 'C.UTF-8',
    ...image?.env,
    PATH: visiblePath(input),
    HOME: input.home,
    USER: input.policy.process.user,
    LOGNAME: input.policy.process.user,
    SHELL: image?.shell ?? '/bin/bash',
    TMPDIR: '/tmp',
    GLOVEBOX: '1',
    ...proxyVariables(input.listeners),
  };
  const secret = secretVariables(input.policy.credentials);
  for (const name of input.policy.process.envPass) {
    const value = input.host[name];
    if (value !== undefined && !NEVER_PASSED.test(name) && !secret.has(name)) env[name] = value;
  }
  return { ...env, ...input.policy.process.envSet };
}

function visiblePath(input: EnvironmentInput): string {
  const own = (input.host['PATH'] ?? '').split(':').filter((dir) => dir.startsWith('/'));
  const extra = own.filter((dir) => input.visible.some((tree) => isWithin(dir, tree)));
  const base = input.image?.env['PATH'] ?? DEFAULT_PATH;
  return [...new Set([...extra, ...base.split(':')])].join(':');
}

/** For programs that insist on a proxy; all others are caught without it. */
function proxyVariables(listeners: readonly PlanListener[]): Record<string, string> {
  const http = `http://127.0.0.1:${listenerPort(listeners, 'http-proxy')}`;
  const socks = `socks5h://127.0.0.1:${listenerPort(listeners, 'socks')}`;
  const local = 'localhost,127.0.0.1,::1';
  return {
    http_proxy: http,
    https_proxy: http,
    HTTP_PROXY: http,
    HTTPS_PROXY: http,
    all_proxy: socks,
    ALL_PROXY: socks,
    no_proxy: local,
    NO_PROXY: local,
  };
}
