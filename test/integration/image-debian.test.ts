import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { needsProgram } from '../support/attack.ts';
import { TestBox } from '../support/box.ts';
import { buildRecipe } from '../support/recipe.ts';
import { tarOf } from '../support/tar.ts';

const SETUP = "from setuptools import setup\nsetup(name='demo', version='1.0', packages=['demo'])\n";
/** What the guide says a step can do, with what lies in the context alone; and what it cannot. */
const PIP_RECIPE = `FROM python
COPY source /srv/source
RUN pip install --no-index --no-build-isolation --break-system-packages /srv/source
RUN python3 -m venv --system-site-packages /srv/venv && /srv/venv/bin/python -c 'import demo'
RUN useradd bob && id bob && chown -R bob:shadow /srv/source && apt-config dump APT::Sandbox::User | grep -q root
`;

/** A package index on this machine's 127.0.0.1 that has one package. */
async function packageIndex(): Promise<{ readonly port: number; close(): void }> {
  const sdist = gzipSync(
    tarOf([
      { name: 'indexed-1.0/PKG-INFO', content: 'Metadata-Version: 1.0\nName: indexed\nVersion: 1.0\n' },
      {
        name: 'indexed-1.0/setup.py',
        content: SETUP.replace("'demo', v", "'indexed', v").replace("['demo']", "['indexed']"),
      },
      { name: 'indexed-1.0/indexed/__init__.py', content: 'VALUE = 43\n' },
    ]),
  );
  const server = createServer(({ url }, response) => {
    if (url === '/simple/indexed/')
      response
        .setHeader('content-type', 'text/html')
        .end('<a href="/indexed-1.0.tar.gz">indexed-1.0.tar.gz</a>');
    else if (url === '/indexed-1.0.tar.gz') response.end(sdist);
    else response.writeHead(404).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, close: () => void server.close() };
}

const indexRecipe = (port: number): string => `FROM python
RUN pip install --no-build-isolation --break-system-packages --index-url http://host-loopback:${port}/simple --trusted-host host-loopback indexed
`;

const noMmdebstrap = needsProgram('mmdebstrap');

describe.skipIf(noMmdebstrap !== undefined)(
  `scripts/bases.sh${noMmdebstrap === undefined ? '' : ` (skipped: ${noMmdebstrap})`}`,
  () => {
    it('makes a base of Debian packages that a sandbox stands on, and a recipe installs into', async () => {
      using box = new TestBox();
      const script = path.resolve(import.meta.dirname, '../../scripts/bases.sh');
      const env = { ...box.env(), GLOVEBOX: `${process.execPath} ${path.resolve('dist/bin/glovebox.js')}` };
      const made = spawnSync('bash', [script, 'python'], { env, encoding: 'utf8', timeout: 500_000 });
      expect([made.status, made.status === 0 ? '' : made.stderr]).toEqual([0, '']);
      const run = await box.run(['sh', '-c', '. /etc/os-release; echo $ID; perl -e "print 6*7"'], {
        flags: ['--image', 'python'],
      });
      expect(run.stdout).toBe('debian\n42');
      mkdirSync(path.join(box.workspace, 'context/source/demo'), { recursive: true });
      const sources = { 'setup.py': SETUP, 'demo/__init__.py': 'VALUE = 42\n' };
      for (const [name, text] of Object.entries(sources))
        writeFileSync(path.join(box.workspace, 'context/source', name), text);
      expect(await buildRecipe(box, PIP_RECIPE)).toMatchObject({ code: 0 });
      const inside = await box.run(['/srv/venv/bin/python', '-c', 'import demo; print(demo.VALUE)'], {
        flags: ['--image', 'made'],
      });
      expect(inside.stdout).toBe('42\n');
      const index = await packageIndex();
      try {
        const refused = await buildRecipe(box, indexRecipe(index.port));
        expect(refused.stderr).toContain(`--allow host-loopback:${index.port}`);
        expect(
          await buildRecipe(box, indexRecipe(index.port), ['--allow', `host-loopback:${index.port}`]),
        ).toMatchObject({ code: 0 });
      } finally {
        index.close();
      }
      const fetched = await box.run(['python3', '-c', 'import indexed; print(indexed.VALUE)'], {
        flags: ['--image', 'made'],
      });
      expect(fetched.stdout).toBe('43\n');
    }, 600_000);
  },
);
