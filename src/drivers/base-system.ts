/** One piece of the host's system that every sandbox sees, read-only. */
export interface BaseEntry {
  readonly path: string;
  readonly why: string;
}

/** Top-level directories that are symlinks into /usr on merged systems and real directories on others. */
export const SYSTEM_ROOTS: readonly BaseEntry[] = [
  { path: '/usr', why: 'programs and libraries' },
  { path: '/bin', why: 'programs at their traditional path' },
  { path: '/sbin', why: 'programs at their traditional path' },
  { path: '/lib', why: 'the dynamic loader and libraries' },
  { path: '/lib64', why: 'the dynamic loader of x86-64' },
  { path: '/lib32', why: 'libraries of 32-bit programs' },
  { path: '/libx32', why: 'kept as it is on the host: a dangling link confuses package tools' },
];

/** The files of /etc that programs need. Nothing here holds a secret on a standard Debian system. */
export const ETC_ENTRIES: readonly BaseEntry[] = [
  { path: '/etc/alternatives', why: 'Debian names many programs through these links' },
  { path: '/etc/ld.so.cache', why: 'the dynamic loader finds libraries with it' },
  { path: '/etc/ld.so.conf', why: 'read by ldconfig and by language runtimes that look for libraries' },
  { path: '/etc/ld.so.conf.d', why: 'included by ld.so.conf' },
  { path: '/etc/ssl/certs', why: 'certificate authorities' },
  {
    path: '/etc/ssl/openssl.cnf',
    why: 'OpenSSL fails to start without it; the directory beside it holds private keys and is left out',
  },
  { path: '/etc/ca-certificates', why: 'source of the certificate bundle' },
  { path: '/etc/ca-certificates.conf', why: 'list of the certificate bundle' },
  { path: '/etc/localtime', why: 'local time' },
  { path: '/etc/timezone', why: 'local time, by name' },
  { path: '/etc/services', why: 'port names' },
  { path: '/etc/protocols', why: 'protocol names' },
  { path: '/etc/mime.types', why: 'file types by name' },
  { path: '/etc/magic', why: 'file types by content' },
  { path: '/etc/terminfo', why: 'terminal descriptions' },
  { path: '/etc/inputrc', why: 'key bindings of an interactive shell' },
  { path: '/etc/bash.bashrc', why: 'prompt of an interactive shell' },
  { path: '/etc/profile', why: 'login shells read it' },
  { path: '/etc/gai.conf', why: 'address selection rules' },
  { path: '/etc/fonts', why: 'font selection for programs that render text' },
  { path: '/etc/perl', why: 'module path of Perl' },
  { path: '/etc/python3', why: 'Debian settings of Python' },
  { path: '/etc/python3.11', why: 'Debian settings of Python 3.11' },
  { path: '/etc/python3.13', why: 'Debian settings of Python 3.13' },
  { path: '/etc/matplotlibrc', why: 'Debian settings of matplotlib, which fails to load without them' },
  { path: '/etc/java-17-openjdk', why: 'settings of the Java runtime' },
  { path: '/etc/java-21-openjdk', why: 'settings of the Java runtime' },
  { path: '/etc/debian_version', why: 'package tools ask for it' },
  { path: '/etc/os-release', why: 'programs ask which system this is' },
];

/** Entries of /proc that tell of the whole machine, also from a pid namespace of its own; the list that container engines mask. */
export const PROC_HIDDEN: readonly BaseEntry[] = [
  { path: '/proc/keys', why: "names of the caller's keys" },
  { path: '/proc/key-users', why: 'who has how many keys' },
  { path: '/proc/kcore', why: "the machine's memory" },
  { path: '/proc/acpi', why: 'hardware of the machine' },
  { path: '/proc/scsi', why: 'hardware of the machine' },
  { path: '/proc/latency_stats', why: 'what others on the machine do' },
  { path: '/proc/timer_list', why: 'what others on the machine do' },
  { path: '/proc/sched_debug', why: 'what others on the machine do' },
];

/** What the caller's identity looks like inside. */
export interface EtcIdentity {
  readonly user: string;
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
  readonly shell: string;
  readonly hostname: string;
}

/** Accounts of an image, as lines of passwd(5) and group(5): its programs look them up. */
export interface ImageAccounts {
  readonly passwd: readonly string[];
  readonly group: readonly string[];
}

/** The lines of ours, and those of an image whose name and number are still free. */
function accounts(own: readonly string[], image: readonly string[] = []): string {
  const taken = new Set(own.flatMap((line) => namesOf(line)));
  return lines([...own, ...image.filter((line) => namesOf(line).every((name) => !taken.has(name)))]);
}

const namesOf = (line: string): readonly string[] => {
  const [name = '', , id = ''] = line.split(':');
  return [name, `#${id}`];
};

/** Files of /etc that are made for the sandbox, so that it learns nothing of the host's users, hosts and resolvers. */
export function syntheticEtc(
  id: EtcIdentity,
  image?: ImageAccounts,
): readonly { readonly path: string; readonly content: string; readonly why: string }[] {
  const passwd = [
    'root:x:0:0:root:/nonexistent:/usr/sbin/nologin',
    `${id.user}:x:${id.uid}:${id.gid}:sandbox:${id.home}:${id.shell}`,
    'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
  ];
  return [
    { path: '/etc/passwd', content: accounts(passwd, image?.passwd), why: 'user names; the host has others' },
    {
      path: '/etc/group',
      content: accounts(['root:x:0:', `${id.user}:x:${id.gid}:`, 'nogroup:x:65534:'], image?.group),
      why: 'group names',
    },
    {
      path: '/etc/hosts',
      content: lines([
        '127.0.0.1 localhost',
        `127.0.1.1 ${id.hostname}`,
        '::1 localhost ip6-localhost ip6-loopback',
      ]),
      why: 'loopback names',
    },
    { path: '/etc/hostname', content: lines([id.hostname]), why: 'the sandbox has its own name' },
    {
      path: '/etc/resolv.conf',
      content: lines(['nameserver 127.0.0.1', 'options timeout:5 attempts:1']),
      why: 'names are answered by the gateway alone',
    },
    {
      path: '/etc/nsswitch.conf',
      content: lines([
        'passwd: files',
        'group: files',
        'hosts: files dns',
        'services: files',
        'protocols: files',
      ]),
      why: 'no lookups through host services',
    },
    { path: '/etc/host.conf', content: lines(['multi on']), why: 'as on every Debian system' },
    {
      path: '/etc/machine-id',
      content: lines(['00000000000000000000000000000000']),
      why: "the host's own would identify it",
    },
    { path: '/etc/shells', content: lines(['/bin/sh', '/bin/bash']), why: 'login shells' },
  ];
}

const lines = (rows: readonly string[]): string => `${rows.join('\n')}\n`;
