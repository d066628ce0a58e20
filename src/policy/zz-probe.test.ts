import { mkdtempSync, mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { it } from 'vitest';
import { loadPolicy } from './load.ts';
import { policyJsonSchema } from './json-schema.ts';
it('probe', async () => {
  const root = mkdtempSync(path.join(tmpdir(), 'gbp-'));
  const home = path.join(root, 'home');
  mkdirSync(path.join(home, 'work'), { recursive: true });
  mkdirSync(path.join(home, '.config/glovebox'), { recursive: true });
  const ctx = {
    cwd: path.join(home, 'work'),
    env: {},
    home,
    configDir: path.join(home, '.config/glovebox'),
    stateDir: path.join(home, '.state'),
    cacheDir: path.join(home, '.cache/glovebox'),
    organisationFile: path.join(root, 'org.yaml'),
  };
  for (let i = 0; i < 4; i++) {
    const t = performance.now();
    const r = await loadPolicy(ctx, { profiles: ['node'], allow: ['api.github.com'] });
    console.log((performance.now() - t).toFixed(2), r.hash.slice(0, 8), JSON.stringify(r).length);
    if (i === 0)
      console.log(
        JSON.stringify(
          {
            ...r.policy,
            filesystem: { ...r.policy.filesystem, protect: r.policy.filesystem.protect.length },
          },
          null,
          1,
        ),
        r.notices,
      );
  }
  writeFileSync(
    path.join(ctx.configDir, 'policy.yaml'),
    `version: 1
tier: contaner
network:
  alow: [x]
  allow:
    - https://x.com/a
    - { host: "*.com", ports: [] , prot: 1}
    - host: api.x.com
      ports: ["443"]
      methods: [get]
    - localhost
    - 10.0.0.1
    - { host: db.internal, protocol: tcp }
  deny: null
filesystem:
  read: [~bob/x, "*.pem"]
  protect: ["!.vscod"]
  tmp: 512M
limits: { memory: 1 gig, timeout: 600, cpu: 0, pids: 1.5, nesting: true, require: [cpus] }
process: { nesting: yes, env: [LD_PRELOAD, {set: {A: 1}}, {nam: X}], user: root }
credentials: { anthropic: sk-secret }
`,
  );
  try {
    await loadPolicy(ctx, {});
  } catch (e) {
    console.log((e as Error).message);
  }
  writeFileSync('/work/main/schemas/policy.schema.json', `${JSON.stringify(policyJsonSchema(), null, 2)}\n`);
});
