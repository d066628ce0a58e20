// The same key under a second name, which the policy passes inside. Source: DESIGN §1.4 (no credential enters a sandbox's environment).
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

class AliasBox extends EgressBox {
  override egressPolicy(): Record<string, unknown> {
    return {
      ...super.egressPolicy(),
      process: { env: ['ALSO_KEY', 'IN_URL', 'IN_BASIC', 'HARMLESS'] },
    };
  }
}

forEachTier('a variable that holds a secret of the policy shows the placeholder', async (tier) => {
  await using box = new AliasBox(tier);
  const env = {
    LLM_API_KEY: box.secret,
    ALSO_KEY: box.secret,
    IN_URL: `https://user:${box.secret}@api.llm.test/`,
    IN_BASIC: Buffer.from(`user:${box.secret}`).toString('base64'),
    HARMLESS: 'plain',
  };
  const result = await box.probe(
    `
for name in ('ALSO_KEY', 'IN_URL', 'HARMLESS'): report(name, os.environ.get(name))
report('basic', base64.b64decode(os.environ.get('IN_BASIC', '')).decode())
report('own', PLACEHOLDER)
control()
`,
    { hostEnv: box.env(env) },
  );
  const seen = outcomes(result);
  const own = seen['own'] ?? '';
  expect(own, result.stderr).toMatch(/^sk-ant-/);
  expect(seen).toMatchObject({
    ALSO_KEY: own,
    IN_URL: `https://user:${own}@api.llm.test/`,
    basic: `user:${own}`,
    HARMLESS: 'plain',
  });
  box.expectOnlyControl(result);
});
