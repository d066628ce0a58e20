import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import path from 'node:path';
import { locateAgent } from '../../src/agent/locate.ts';
import { cpioArchive } from '../../src/machine/initrd/cpio.ts';
import { initrdArchive } from '../../src/machine/initrd/initrd.ts';
import { findKernel } from '../../src/machine/kernel/find.ts';
import { moduleClosure } from '../../src/machine/modules/closure.ts';
import type { MachineSite } from './machine.ts';

/**
 * Machines whose channel and relay are connections over AF_VSOCK. There is no hypervisor with vsock here, so agent/test/vsock_host.c does in
 * the guest what one does on the host, over the kernel's loopback transport.
 */

const AGENT = path.join(import.meta.dirname, '../../agent');

/** VMADDR_CID_LOCAL of vsock(7), where a hypervisor's host is 2. */
export const VSOCK_WORDS = 'glovebox_vsock=1';

/** The initial RAM disk, whose first process is that of the test. */
export async function vsockInitrd(site: MachineSite): Promise<string> {
  const host = site.path('vsock-host');
  const sources = ['net', 'fail', 'io', 'wire'].map((name) => path.join(AGENT, `src/${name}.c`));
  const flags = ['-std=c11', '-D_GNU_SOURCE', '-O1', '-static', '-o', host];
  execFileSync('cc', [...flags, path.join(AGENT, 'test/vsock_host.c'), ...sources], { stdio: 'pipe' });
  const kernel = findKernel();
  const modules = await moduleClosure(kernel, ['network', 'vsock']);
  const loopback = path.join(kernel.modules, 'kernel/net/vmw_vsock/vsock_loopback.ko');
  const more = { name: 'vsock_loopback', content: readFileSync(loopback) };
  const archive = initrdArchive(readFileSync(host), [...modules, more]);
  const agent = cpioArchive([
    { kind: 'file', name: 'agent', mode: 0o755, content: readFileSync(locateAgent()) },
  ]);
  writeFileSync(site.path('vsock-initrd'), Buffer.concat([archive, agent]));
  return site.path('vsock-initrd');
}

/** A TCP port of the loopback address whose connections arrive at a unix socket, as those of a hypervisor with vsock do. */
export async function frontOf(site: MachineSite, server: Server): Promise<{ port: number; close(): void }> {
  const file = site.path('relay');
  server.listen(file);
  await once(server, 'listening');
  const front = createServer({ allowHalfOpen: true }, (from) => {
    const to = connect({ path: file, allowHalfOpen: true });
    from.on('error', () => to.destroy());
    to.on('error', () => from.destroy());
    from.pipe(to).pipe(from);
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  const close = (): void => {
    front.close();
    server.close();
  };
  return { port: (front.address() as AddressInfo).port, close };
}
