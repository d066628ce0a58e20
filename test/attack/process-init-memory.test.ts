// Reads or writes the memory of pid 1. Source: process_vm_readv(2), proc_pid_mem(5); CVE-2019-5736 (runc overwritten through /proc/self/exe).
import { expect } from 'vitest';
import {
  AttackBox,
  expectRecorded,
  expectRefused,
  forEachTier,
  isGuest,
  outcomes,
} from '../support/attack.ts';

forEachTier("pid 1's memory, maps, environment and program file are closed", async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(`
buffer = ctypes.create_string_buffer(16)
vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 16)
attempt('readv', lambda: syscall('process_vm_readv', 1, vector, 1, vector, 1, 0))
attempt('writev', lambda: syscall('process_vm_writev', 1, vector, 1, vector, 1, 0))
for name in ('mem', 'environ', 'maps', 'auxv', 'stack', 'syscall'): attempt(name, lambda: read_file('/proc/1/' + name) or (_ for _ in ()).throw(OSError(errno.EACCES, 'empty')))
attempt('mem-write', lambda: os.close(os.open('/proc/1/mem', os.O_WRONLY)))
attempt('exe', lambda: os.close(os.open('/proc/1/exe', os.O_WRONLY)))
`);
  const memory = ['readv', 'writev', 'mem', 'stack', 'syscall', 'mem-write'];
  // gVisor shows where a process has its memory to everybody, and its environment, in which the agent has nothing.
  if (isGuest(tier)) expect(outcomes(result)['environ']).toBe(String.raw`OK b'HOME=/nonexistent\x00'`);
  else memory.push('environ', 'maps', 'auxv');
  expectRefused(result, memory, ['EPERM', 'EACCES', 'ENOENT']);
  expectRefused(result, ['exe'], ['EACCES', 'EPERM', 'ETXTBSY', 'EROFS', 'ENOENT']);
  expectRecorded(box);
});
