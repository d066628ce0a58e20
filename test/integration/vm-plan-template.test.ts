import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  truncateSync,
  writeSync,
  openSync,
} from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { EgressBox } from '../support/egress-box.ts';
import { machines, textOf } from '../support/machines.ts';
import { TEMPLATE_MEMORY, TemplateBox } from '../support/template-box.ts';
import { expectNothingLeft } from '../support/tree.ts';

/** Names of the templates that living sandboxes of this process went on from or made. */
function leased(cache: string): readonly string[] {
  const leases = path.join(cache, 'leases');
  return readdirSync(leases).flatMap((name) => readFileSync(path.join(leases, name), 'utf8').split('\n'));
}

/** Starts a sandbox of the box often enough for its plan to have a template. */
async function startTwice(box: TemplateBox): Promise<string> {
  for (const _ of [1, 2]) await (await box.create()).kill();
  const [file, ...more] = box.planTemplates();
  expect(more).toEqual([]);
  if (file === undefined) throw new Error('no template of the plan was made');
  return file;
}

machines('a plan that is started again', () => {
  it('is saved at its second start, and what comes after goes on from there as if it had been booted', async () => {
    using box = new TemplateBox();
    const once = await box.create();
    await once.kill();
    expect(box.planTemplates()).toEqual([]);
    const file = await startTwice(box);
    box.write('in.txt', 'from the host\n');
    const clones = await Promise.all([box.create(), box.create()]);
    try {
      expect(leased(box.cache)).toContain(path.basename(path.dirname(file)));
      const draws = [
        'head -c 16 /dev/urandom | od -An -tx1',
        'cat /proc/sys/kernel/random/boot_id',
        'cat /proc/sys/kernel/random/uuid',
        'mktemp -u XXXXXXXXXXXXXXXX',
        'python3 -c "import uuid, secrets; print(uuid.uuid4(), secrets.token_hex(8))"',
      ].join('; ');
      const [one, other] = await Promise.all(
        clones.map(async (clone) => (await textOf(clone, draws)).trim().split('\n')),
      );
      expect(one).toHaveLength(5);
      for (const [index, value] of (one ?? []).entries()) expect(other?.[index], value).not.toBe(value);
      for (const clone of clones) {
        expect(await textOf(clone, 'hostname; cat in.txt; ls *.txt')).toBe(
          'glovebox\nfrom the host\nin.txt\n',
        );
        const inside = Number(await textOf(clone, 'date +%s'));
        expect(Math.abs(inside - Date.now() / 1000)).toBeLessThan(3);
      }
    } finally {
      await Promise.all(clones.map((clone) => clone.kill()));
    }
    await expectNothingLeft(box);
  });

  it('finds another directory in the place of its workspace, and what the host changed', async () => {
    using box = new TemplateBox();
    box.write('old.txt', 'old');
    await startTwice(box);
    renameSync(box.workspace, `${box.workspace}.before`);
    mkdirSync(box.workspace, { mode: 0o700 });
    box.write('new.txt', 'new');
    const clone = await box.create();
    expect(await textOf(clone, 'ls *.txt; echo inside > made.txt')).toBe('new.txt\n');
    expect(box.read('made.txt')).toBe('inside\n');
    await clone.kill();
  });

  it('gets no template for another plan', async () => {
    using box = new TemplateBox();
    const file = await startTwice(box);
    const other = await box.create({ limits: { memory: TEMPLATE_MEMORY, pids: '77' } });
    expect(leased(box.cache)).not.toContain(path.basename(path.dirname(file)));
    expect(await textOf(other, 'echo works')).toBe('works\n');
    await other.kill();
  });

  it.each<readonly [string, (file: string) => void]>([
    ['cut short', (file) => truncateSync(file, 1024 ** 2)],
    ['written to', (file) => void writeSync(openSync(file, 'r+'), 'x', 4096)],
  ])('is started without a template that was %s', async (_what, spoil) => {
    using box = new TemplateBox();
    const file = await startTwice(box);
    chmodSync(file, 0o600);
    spoil(file);
    const clone = await box.create();
    expect(await textOf(clone, 'echo works')).toBe('works\n');
    await clone.kill();
  });
});

machines('a plan that is warmed up', () => {
  const warmUp = ['sh', '-c', 'env > /tmp/ran; python3 -c 0'];

  it('has run its command in the machine that later ones go on from, with no variable of the caller', async () => {
    using box = new TemplateBox();
    const options = { warmUp, envs: { TOKEN: 'given' } };
    for (const ran of ['no', 'yes', 'yes']) {
      const sandbox = await box.create(options);
      expect(await textOf(sandbox, '[ -e /tmp/ran ] && echo yes || echo no; echo $TOKEN')).toBe(
        `${ran}\ngiven\n`,
      );
      if (ran === 'yes')
        expect(await textOf(sandbox, 'cut -d= -f1 /tmp/ran | sort')).toBe('HOME\nLANG\nPATH\nPWD\n');
      await sandbox.kill();
    }
    const commands = box.records().filter(({ kind }) => kind === 'run.command');
    expect(
      commands.filter(({ data }) => JSON.stringify(data['argv']) === JSON.stringify(warmUp)),
    ).toHaveLength(1);
  });

  it('has no template when the command fails, and no other tier takes one', async () => {
    using box = new TemplateBox();
    for (const _ of [1, 2]) await (await box.create({ warmUp: ['false'] })).kill();
    expect(box.planTemplates()).toEqual([]);
    await expect(box.create({ tier: 'process', warmUp })).rejects.toMatchObject({ code: 'E_UNSUPPORTED' });
  });
});

machines('the template of a plan with a credential', () => {
  it('holds neither the secret nor a placeholder, and each clone trusts the authority of its own gateway', async () => {
    const caches: { dir?: string } = {};
    await using box = new EgressBox('vm', {
      get env() {
        return caches.dir === undefined ? {} : { XDG_CACHE_HOME: caches.dir };
      },
    });
    caches.dir = path.join(box.base, 'cache');
    const placeholders = new Set<string>();
    for (const _ of [1, 2, 3]) {
      await using sandbox = await box.create({ limits: { memory: TEMPLATE_MEMORY } });
      placeholders.add(await textOf(sandbox, 'printf %s "$LLM_API_KEY"'));
      box.arrived.length = 0;
      box.expectOnlyControl(await box.probeIn(sandbox, 'control()'));
    }
    expect(placeholders.size).toBe(3);
    const entries = path.join(caches.dir, 'glovebox/machine/entries');
    const plans = readdirSync(entries).filter((name) =>
      readFileSync(path.join(entries, name, 'record.json'), 'utf8').includes('"plan '),
    );
    expect(plans).toHaveLength(1);
    const template = readFileSync(path.join(entries, plans[0] ?? '', 'data'));
    for (const word of [box.secret, ...placeholders]) expect(template.includes(word)).toBe(false);
  });
});
