import type { SyscallName } from './numbers.ts';
import { allow, refused, type Row } from './row.ts';
import { MEMBARRIER, NOT_THE_AGENT, type SeccompOptions } from './rules.ts';

/** Where a filter stands besides around commands on the host's own kernel. */
type Place = NonNullable<SeccompOptions['place']>;

/** An image keeps no owners, and a step has one user: programs that give files away go on, and the files stay whose they are. */
const OWNER = refused('NONE', 'answered as done and not done: an image has one owner');

/**
 * What differs elsewhere. `runtime` is the jail around runsc, with the same walls as a sandbox with nesting; `guest` is the
 * guest kernel's own, around its commands. runsc confines its kernel and its gofer further, each to the calls it makes (runsc/boot/filter).
 */
export const PLACE_CALLS: Readonly<Record<Place, Partial<Record<SyscallName, Row>>>> = {
  runtime: {
    ptrace: allow("runsc makes the processes that the guest's code runs in; the jail's own only"),
    process_vm_readv: allow("reads the memory of the guest's processes"),
    process_vm_writev: allow("writes the memory of the guest's processes"),
    membarrier: allow("memory order between the guest's processors", MEMBARRIER),
  },
  guest: {
    kill: allow('signals', NOT_THE_AGENT),
    tkill: allow('signals', NOT_THE_AGENT),
    tgkill: allow('signals', NOT_THE_AGENT),
    rt_sigqueueinfo: allow('signals', NOT_THE_AGENT),
    rt_tgsigqueueinfo: allow('signals', NOT_THE_AGENT),
    lgetxattr: refused(
      'EOPNOTSUPP',
      'gVisor answers EBADF for a symbolic link or socket, and `ls -l` complains about each; programs that ask do without',
    ),
  },
  recipe: { chown: OWNER, fchown: OWNER, lchown: OWNER, fchownat: OWNER },
};
