import { existsSync } from 'node:fs';
import { shellWord } from './shell-word.ts';
import type { Check } from './contract.ts';
import type { VerifySite } from './site.ts';

/** The canary came back. */
const seen = (said: string, { canary }: VerifySite): string | undefined =>
  said.includes(canary) ? 'the canary was read' : undefined;

/** Walls around the host's files. */
export const FILE_CHECKS: readonly Check[] = [
  {
    name: 'control',
    tries: 'reads and writes its own workspace, which has to work',
    script: ({ workspace }) => `cd ${shellWord(workspace)} && cat control && echo made >made`,
    breach: (said, site) =>
      said.includes('readable') && existsSync(site.inside('made'))
        ? undefined
        : 'the workspace cannot be used, so the other checks would prove nothing',
  },
  {
    name: 'file outside',
    tries: 'reads a file beside the workspace, by its path, through .. and through links',
    script: (site) => {
      const secret = site.outside('secret');
      return `cat ${shellWord(secret)}; cat ../outside/secret; ln -s ${shellWord(secret)} link; cat link; cat /proc/self/cwd/../outside/secret`;
    },
    breach: seen,
  },
  {
    name: 'denied file',
    tries: 'reads a denied file of the workspace, copies it, links it, moves it away',
    script: (site) => {
      const denied = shellWord(site.inside('denied'));
      return `cat ${denied}; cp ${denied} copy; cat copy; ln ${denied} hard; cat hard; mv ${denied} moved; cat moved`;
    },
    breach: (said, site) =>
      seen(said, site) ??
      (site.isUntouched(site.inside('denied')) ? undefined : 'the host has another file now'),
  },
  {
    name: 'protected file',
    tries: 'overwrites, removes and replaces a protected file of the workspace',
    script: (site) => {
      const kept = shellWord(site.inside('protected'));
      return `echo x >${kept}; echo x >>${kept}; rm -f ${kept}; echo x >other; mv -f other ${kept}`;
    },
    breach: (_said, site) =>
      site.isUntouched(site.inside('protected')) ? undefined : 'the file of the host has changed',
  },
  {
    name: 'write outside',
    tries: 'writes beside the workspace, and to the base system',
    script: (site) =>
      `echo x >${shellWord(site.outside('planted'))}; echo x >${shellWord(site.outside('kept'))}; ` +
      'for d in /usr/bin /etc /boot /lib; do touch $d/.glovebox-verify && echo "wrote $d"; done',
    breach: (said, site) => {
      if (existsSync(site.outside('planted')) || !site.isUntouched(site.outside('kept')))
        return 'a file of the host was written';
      return /wrote (\S+)/.exec(said)?.[0];
    },
  },
  {
    name: 'device nodes',
    tries: 'makes a device node, and reads memory, disks and the kernel log',
    script: () =>
      'mknod node b 8 0 && echo "made a node"; for d in /dev/sda /dev/vda /dev/nvme0n1 /dev/mem /dev/kmsg /dev/port; do ' +
      'head -c 1 $d >/dev/null && echo "read $d"; done',
    breach: (said) => /made a node|read \/dev\/\S+/.exec(said)?.[0],
  },
];
