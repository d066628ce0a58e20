import { accessSync, constants, existsSync } from 'node:fs';
import { release } from 'node:os';
import path from 'node:path';
import { locateAgent } from '../../agent/locate.ts';
import { probeAgent } from '../../agent/probe.ts';
import type { AgentProbe } from '../../agent/contract.ts';
import { isGloveboxError } from '../../base/errors.ts';
import { ensurePrivateDir, gloveboxDirs } from '../../base/paths.ts';
import { packageVersion } from '../../base/version.ts';
import { isOlder, probeBubblewrap } from '../../drivers/bubblewrap/probe.ts';

/** One finding: `fail` means that sandboxes do not start, `warn` that something is weaker. */
export interface Finding {
  readonly name: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** The exact fix, where there is one. */
  readonly fix?: string;
}

/** The oldest Node that is tested. */
const MINIMUM_NODE = '20.19.0';

/** Checks everything the process tier stands on; needs no privilege and changes nothing but its own directories. */
export async function checkMachine(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  return [
    checkNode(),
    checkKernel(),
    checkBubblewrap(env),
    ...(await checkAgent(env)),
    ...checkDirectories(env),
  ];
}

function checkNode(): Finding {
  const version = process.versions.node;
  const old = isOlder(version, MINIMUM_NODE);
  return {
    name: 'node',
    state: old ? 'fail' : 'ok',
    detail: `${version}, glovebox ${packageVersion()}`,
    ...(old ? { fix: `install Node.js ${MINIMUM_NODE} or newer` } : {}),
  };
}

function checkKernel(): Finding {
  if (process.platform !== 'linux') {
    return {
      name: 'kernel',
      state: 'fail',
      detail: `${process.platform} is not supported`,
      fix: 'use Linux, or a Linux virtual machine',
    };
  }
  const known = process.arch === 'x64' || process.arch === 'arm64';
  return { name: 'kernel', state: known ? 'ok' : 'fail', detail: `Linux ${release()} on ${process.arch}` };
}

function checkBubblewrap(env: NodeJS.ProcessEnv): Finding {
  const probe = probeBubblewrap(env);
  if (probe.usable) return { name: 'bubblewrap', state: 'ok', detail: `${probe.version} at ${probe.path}` };
  return {
    name: 'bubblewrap',
    state: 'fail',
    detail: probe.why ?? 'not found',
    fix: probe.fix ?? 'sudo apt-get install bubblewrap',
  };
}

async function checkAgent(env: NodeJS.ProcessEnv): Promise<readonly Finding[]> {
  try {
    const agent = locateAgent(env);
    const probe = await probeAgent(agent);
    return [{ name: 'agent', state: 'ok', detail: `${probe.version} at ${agent}` }, ...probeFindings(probe)];
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    return [{ name: 'agent', state: 'fail', detail, fix: agentFix(error) }];
  }
}

function agentFix(error: unknown): string {
  const compiler = (process.env['PATH'] ?? '').split(':').some((dir) => existsSync(path.join(dir, 'cc')));
  if (!compiler) return 'sudo apt-get install gcc libc6-dev && npm run build';
  return isGloveboxError(error) ? 'npm run build' : 'npm run build, then run doctor again';
}

function probeFindings(probe: AgentProbe): readonly Finding[] {
  return [userNamespaces(probe), mountApi(probe), network(probe), seccomp(probe), landlock(probe)];
}

function userNamespaces(probe: AgentProbe): Finding {
  const { ok, errno, step, apparmorRestricted } = probe.userNamespaces;
  if (ok) return { name: 'user namespaces', state: 'ok', detail: 'can be made by this user' };
  const detail = `refused at ${step} (errno ${errno})`;
  if (apparmorRestricted)
    return {
      name: 'user namespaces',
      state: 'fail',
      detail: `${detail}, by AppArmor`,
      fix: APPARMOR_PROFILE,
    };
  return {
    name: 'user namespaces',
    state: 'fail',
    detail,
    fix: 'sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000 (in a container: allow unshare and mount in its seccomp profile)',
  };
}

/** For systems that confine unprivileged user namespaces (Ubuntu 24.04 and later). */
const APPARMOR_PROFILE = [
  "put this into /etc/apparmor.d/glovebox-agent, with the agent's real path, and load it with `sudo apparmor_parser -r` on it:",
  '  abi <abi/4.0>,',
  '  profile glovebox-agent /**/agent/build/glovebox-agent flags=(unconfined) { userns, }',
].join('\n');

function mountApi(probe: AgentProbe): Finding {
  const { ok, errno } = probe.mountApi;
  if (ok) return { name: 'mount API', state: 'ok', detail: 'open_tree, mount_setattr, move_mount' };
  return { name: 'mount API', state: 'fail', detail: `errno ${errno}`, fix: 'use Linux 5.12 or newer' };
}

function network(probe: AgentProbe): Finding {
  const { ok, errno, ipv6 } = probe.network;
  if (!ok)
    return {
      name: 'network namespace',
      state: 'fail',
      detail: `errno ${errno}`,
      fix: 'enable network namespaces in the kernel',
    };
  return {
    name: 'network namespace',
    state: 'ok',
    detail: ipv6 ? 'IPv4 and IPv6' : 'IPv4; the host has no IPv6',
  };
}

function seccomp(probe: AgentProbe): Finding {
  if (probe.seccomp) return { name: 'seccomp', state: 'ok', detail: 'filters can be installed' };
  return {
    name: 'seccomp',
    state: 'fail',
    detail: 'no filter mode',
    fix: 'use a kernel with CONFIG_SECCOMP_FILTER',
  };
}

function landlock(probe: AgentProbe): Finding {
  if (probe.landlockAbi > 0) return { name: 'landlock', state: 'ok', detail: `ABI ${probe.landlockAbi}` };
  return {
    name: 'landlock',
    state: 'warn',
    detail: 'not there: files as stdin or stdout are relayed, and the mounts stand alone',
    fix: 'boot with lsm=landlock,… on a kernel of 5.13 or newer',
  };
}

function checkDirectories(env: NodeJS.ProcessEnv): readonly Finding[] {
  return Object.entries(gloveboxDirs(env)).map(([name, dir]) => {
    try {
      if (name === 'config') {
        if (existsSync(dir)) accessSync(dir, constants.R_OK);
      } else {
        accessSync(ensurePrivateDir(dir), constants.W_OK);
      }
      return { name: `${name} directory`, state: 'ok', detail: dir };
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      return {
        name: `${name} directory`,
        state: 'fail',
        detail,
        fix: `sudo chown -R "$(id -un)" ${dir} && chmod 700 ${dir}`,
      };
    }
  });
}
