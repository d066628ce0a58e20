// An image whose links, accounts and loader files name files of the host. Source: the planted /etc/localtime and /etc/mtab links of container escapes.
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';
import { smallRootfs } from '../support/rootfs.ts';

forEachTier('links of an image show nothing of the host', async (tier) => {
  using box = new AttackBox(tier);
  const secret = box.plant('secret');
  const root = smallRootfs(path.join(box.base, 'rootfs'));
  rmSync(path.join(root, 'etc/passwd'));
  for (const name of ['localtime', 'passwd', 'group', 'resolv.conf', 'hosts', 'secret'])
    symlinkSync(secret, path.join(root, 'etc', name));
  symlinkSync(`../../../../../../../..${secret}`, path.join(root, 'etc/climbs'));
  symlinkSync(path.dirname(secret), path.join(root, 'etc/ssl'));
  symlinkSync('/', path.join(root, 'opt/host'));
  symlinkSync(path.dirname(secret), path.join(root, 'srv'));
  mkdirSync(path.join(root, 'etc/ld.so.conf.d'));
  writeFileSync(path.join(root, 'etc/ld.so.preload'), `${secret}\n`);
  const script = `cat /etc/* /etc/ssl/* /srv/secret /opt/host${secret} ${secret}; ls /etc; echo tried`;
  const result = await box.run(['/bin/sh', '-c', script], { flags: ['--image', root] });
  expect(result.stdout).toMatch(/tried\n$/);
  expect(result.stdout).toContain('nameserver 127.0.0.1');
  expect(result.stdout + result.stderr).not.toContain(box.canary);
  expectRecorded(box);
});

forEachTier('an image cannot change itself, nor what the next run sees', async (tier) => {
  using box = new AttackBox(tier);
  const root = smallRootfs(path.join(box.base, 'rootfs'));
  const script = `for f in / /etc /usr /usr/bin /opt/tool /var; do touch $f/evil && echo "wrote $f"; ln -s /x $f/evil2 && echo "linked $f"; done 2>/dev/null; echo x > /usr/bin/ls && echo replaced; echo tried`;
  const result = await box.run(['/bin/sh', '-c', script], { flags: ['--image', root] });
  expect(result.stdout).toBe('tried\n');
  expectRecorded(box);
});
