import type { Check } from './contract.ts';
import { shellWord } from './shell-word.ts';

/** Values of /proc/self/status (proc(5)) by name. */
function statusOf(said: string, name: string): string | undefined {
  return new RegExp(`^${name}:\\s*(\\S+)$`, 'm').exec(said)?.[1];
}

const CAPABILITIES = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'] as const;

/** gVisor's kernel has no ambient capabilities to tell of. */
const absent = (name: string): string => (name === 'CapAmb' ? '0' : 'unknown');

/** Walls around the host's processes, and around what a process may become. */
export const PROCESS_CHECKS: readonly Check[] = [
  {
    name: 'host process',
    tries: 'looks for a process of the host, and kills it by its number and all there are',
    needs: ['grep'],
    script: ({ pid, canary }) => {
      // A word of two parts, so that this very line is not what it finds.
      const pattern = `${canary.slice(0, 10)}[${canary.slice(10, 11)}]${canary.slice(11)}`;
      return (
        `grep -aqs ${shellWord(pattern)} /proc/[0-9]*/cmdline && echo seen; kill -9 ${pid} -${pid}; ` +
        `grep -aqs ${shellWord(pattern)} /proc/${pid}/cmdline && echo seen`
      );
    },
    breach: (said, site) => {
      if (!site.isAlive()) return 'the process of the host was killed';
      return said.includes('seen') ? 'the process of the host is visible' : undefined;
    },
  },
  {
    name: 'first process',
    tries: 'goes to the file outside through the roots and directories of other processes',
    script: (site) => {
      const file = site.outside('secret');
      return `for p in /proc/[0-9]*; do cat $p/root${shellWord(file)} $p/cwd/../outside/secret; done`;
    },
    breach: (said, { canary }) => (said.includes(canary) ? 'the canary was read' : undefined),
  },
  {
    name: 'environment',
    tries: "looks for a secret of the caller's environment in its own and in that of every process it sees",
    script: () => 'env; cat /proc/[0-9]*/environ | tr "\\0" "\\n"',
    breach: (said, { canary }) => (said.includes(canary) ? 'the secret is there' : undefined),
  },
  {
    name: 'capabilities',
    tries: 'looks at the capabilities it has or could come by, and uses some',
    script: () =>
      'cat /proc/self/status; mount -t tmpfs none /mnt && echo used mount; chown 12345 control && echo used chown; hostname x && echo used hostname',
    breach: (said) => {
      const had = CAPABILITIES.find((name) => !/^0+$/.test(statusOf(said, name) ?? absent(name)));
      return had === undefined ? /used \w+/.exec(said)?.[0] : `${had} is ${statusOf(said, had) ?? 'unknown'}`;
    },
  },
  {
    name: 'set-user-ID',
    tries: 'asks whether a set-user-ID program would gain anything, and starts those that are there',
    script: () => 'cat /proc/self/status; su -c "echo gained" </dev/null; sudo -n echo gained',
    breach: (said) => {
      if (/^gained$/m.test(said)) return 'a program gained privileges';
      // A kernel that does not say so, gVisor's, has at least nothing that could be gained.
      const bound = statusOf(said, 'CapBnd') ?? 'unknown';
      const bit = statusOf(said, 'NoNewPrivs') ?? (/^0+$/.test(bound) ? '1' : bound);
      return bit === '1' ? undefined : `NoNewPrivs is ${bit}`;
    },
  },
];
