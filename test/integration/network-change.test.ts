import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { isGloveboxError, type Sandbox, type SandboxOptions } from '../../src/index.ts';
import { EgressBox, LLM, OTHER } from '../support/egress-box.ts';

/** Asks once through the gateway with the placeholder, and prints the status. */
const get = (host: string, path: string): string => {
  const key = host === LLM ? '-H "x-api-key: $LLM_API_KEY"' : '';
  return `curl -s -o /dev/null -w '%{http_code}' --max-time 20 ${key} https://${host}${path}`;
};

const status = async (sandbox: Sandbox, host: string, path: string): Promise<string> =>
  (await sandbox.commands.exec(['bash', '-c', get(host, path)])).stdout;

/** The policy of the box with another list of rules. */
function policyOf(box: EgressBox, allow: readonly object[], more: object = {}): Record<string, unknown> {
  const { credentials, network } = box.egressPolicy();
  return { version: 1, credentials, network: { ...(network as object), ...more, allow } };
}

async function change(box: EgressBox, sandbox: Sandbox, allow: readonly object[]): Promise<number> {
  box.policy(JSON.stringify(policyOf(box, allow)));
  return (await sandbox.network.update({})).closed;
}

const LLM_RULE = { id: 'llm', host: LLM, methods: ['GET'], paths: ['/v1/**'], credential: 'LLM' };

test('a running sandbox takes other rules at once, and closes what they no longer allow', async () => {
  await using box = new EgressBox('process', {
    script: ({ url }, response) =>
      void (url === '/slow' ? response.write('more to come') : response.end('ok')),
  });
  await using sandbox = await box.create();
  expect(await status(sandbox, OTHER, '/a')).toBe('200');
  const stream = sandbox.commands.start(['bash', '-c', `curl -sS -N https://${OTHER}/slow; echo "ended $?"`]);
  await expect.poll(() => box.arrived.some((one) => one.url === '/slow')).toBe(true);
  const before = Date.now();
  expect(await change(box, sandbox, [LLM_RULE])).toBeGreaterThanOrEqual(1);
  expect((await stream.wait()).stdout).toMatch(/ended [1-9]/);
  expect(Date.now() - before).toBeLessThan(5_000);
  expect(await status(sandbox, OTHER, '/a')).toMatch(/^(000|403)$/);
  expect(await status(sandbox, LLM, '/v1/models')).toBe('200');
  const changes = box.records().filter((record) => record.kind === 'policy.changed');
  expect(changes).toMatchObject([{ data: { outcome: 'applied' } }]);
});

test.each([
  ['a broken file', '{ version: 1, network: { allow: 7 } }', 'E_POLICY_INVALID'],
  ['a change of the view', { filesystem: { read: ['/srv'] } }, 'E_UNSUPPORTED'],
  [
    'a trusted authority that is not there',
    {
      credentials: {},
      network: { trust: ['/nonexistent/ca.pem'], allow: [{ host: OTHER, paths: ['/**'] }] },
    },
    'E_POLICY_INVALID',
  ],
  [
    'a port without a listener',
    { credentials: {}, network: { allow: [{ host: OTHER, port: 8443 }] } },
    'E_UNSUPPORTED',
  ],
] as const)('%s changes nothing', async (_what, next, code) => {
  await using box = new EgressBox('process');
  await using sandbox = await box.create();
  box.policy(typeof next === 'string' ? next : JSON.stringify({ ...box.egressPolicy(), ...next }));
  const failed = await sandbox.network.update({}).catch((error: unknown) => error);
  expect(isGloveboxError(failed) && failed.code).toBe(code);
  expect(await status(sandbox, OTHER, '/a')).toBe('200');
  const changes = box.records().filter((record) => record.kind === 'policy.changed');
  expect(changes).toMatchObject([{ data: { outcome: 'refused' } }]);
});

test('a credential is read again, and revoked, while the sandbox runs', async () => {
  await using box = new EgressBox('process', {
    llm: { preset: undefined, methods: ['GET'], paths: ['/v1/**'] },
  });
  await using sandbox = await box.create();
  expect(await status(sandbox, LLM, '/v1/models')).toBe('200');
  expect(box.arrived.at(-1)?.headers['x-api-key']).toBe(box.secret);
  await sandbox.network.refresh('LLM');
  expect(await status(sandbox, LLM, '/v1/models')).toBe('200');
  sandbox.network.revoke('LLM');
  const arrived = box.arrived.length;
  expect(await status(sandbox, LLM, '/v1/models')).toBe('403');
  expect(box.arrived).toHaveLength(arrived);
  const sources = box.records().filter((record) => record.kind === 'credential.source');
  expect(sources.at(-1)?.data).toMatchObject({ credential: 'LLM', state: 'revoked' });
});

test('a stream that carries a revoked credential ends; a refresh, and what another carries, ends nothing', async () => {
  await using box = new EgressBox('process', {
    llm: { preset: undefined, methods: ['GET'], paths: ['/v1/**'] },
    script: ({ url }, response) =>
      void (url.endsWith('slow') ? response.write('more to come') : response.end('ok')),
  });
  await using sandbox = await box.create();
  const key = '-H "x-api-key: $LLM_API_KEY"';
  const slow = (url: string, header = ''): ReturnType<Sandbox['commands']['start']> =>
    sandbox.commands.start(['bash', '-c', `curl -sS -N ${header} https://${url}; echo "ended $?"`]);
  const carrying = slow(`${LLM}/v1/slow`, key);
  const other = slow(`${OTHER}/slow`);
  await expect.poll(() => box.arrived.length).toBe(2);
  await sandbox.network.refresh('LLM');
  expect(await status(sandbox, LLM, '/v1/models')).toBe('200');
  sandbox.network.revoke('LLM');
  expect((await carrying.wait()).stdout).toMatch(/ended [1-9]/);
  expect(await status(sandbox, OTHER, '/a')).toBe('200');
  await expect
    .poll(() => box.refusals())
    .toMatchObject([
      { rule: 'structural.credential.revoked', host: LLM, path: '/v1/slow', credential: 'LLM' },
    ]);
  other.kill();
});

const UNKNOWN = 'new.host.test';

function asking(answer: NonNullable<SandboxOptions['onAsk']>): readonly [EgressBox, SandboxOptions] {
  const box = new EgressBox('process', {
    network: { ask: { timeout: '5s', pending: 2 } },
    names: { [UNKNOWN]: '93.184.216.77' },
  });
  return [box, { onAsk: answer }];
}

test.each([
  ['once', '200', 2],
  ['sandbox', '200', 1],
  // For a minute nobody is asked again.
  ['deny', '403', 1],
] as const)('an unknown host waits for an answer: %s', async (answer, code, questions) => {
  const asked: string[] = [];
  const [box, options] = asking(async ({ host, port }) => {
    asked.push(`${host}:${port}`);
    await delay(50);
    return answer;
  });
  await using _ = box;
  await using sandbox = await box.create(options);
  // Opaque TLS: the origin's own certificate is seen inside, so the name is not checked by curl here.
  const ask = `curl -sk -o /dev/null -w '%{http_connect} %{http_code}' --max-time 20 https://${UNKNOWN}/`;
  for (let i = 0; i < 2; i++) {
    const { stdout } = await sandbox.commands.exec(['bash', '-c', ask]);
    expect(stdout).toContain(code);
  }
  expect(asked).toEqual(Array.from({ length: questions }, () => `${UNKNOWN}:443`));
  const records = box.records().filter((record) => record.kind === 'network.asked');
  expect(records).toHaveLength(questions);
  expect(records[0]?.data).toMatchObject({ host: UNKNOWN, port: 443, answer });
});

test('a budget that is used up can stop everything inside until somebody lets it go on', async () => {
  await using box = new EgressBox('process', { network: { overBudget: 'pause', budget: { requests: 2 } } });
  const reasons: string[] = [];
  await using sandbox = await box.create({ onPause: (reason) => reasons.push(reason) });
  const loop = `for i in 1 2 3; do ${get(OTHER, '/a')}; echo; done; echo done`;
  const running = sandbox.commands.start(['bash', '-c', loop]);
  await expect.poll(() => reasons.length).toBe(1);
  expect(reasons[0]).toContain('budget');
  const ended = running.wait();
  expect(await Promise.race([ended.then(() => 'ended'), delay(500, 'still')])).toBe('still');
  await sandbox.resume();
  expect((await ended).stdout).toBe('200\n200\n429\ndone\n');
});

test('a pause that came with a change of the policy stops everything inside too', async () => {
  await using box = new EgressBox('process');
  const reasons: string[] = [];
  await using sandbox = await box.create({ onPause: (reason) => reasons.push(reason) });
  const { credentials, network } = box.egressPolicy();
  const pausing = { ...(network as object), overBudget: 'pause', budget: { requests: 1 } };
  box.policy(JSON.stringify({ version: 1, credentials, network: pausing }));
  await sandbox.network.update({});
  const running = sandbox.commands.start([
    'bash',
    '-c',
    `${get(OTHER, '/a')}; ${get(OTHER, '/a')}; echo done`,
  ]);
  const ended = running.wait();
  await expect.poll(() => reasons.length).toBe(1);
  expect(await Promise.race([ended.then(() => 'ended'), delay(500, 'still')])).toBe('still');
  await sandbox.resume();
  expect((await ended).stdout).toBe('200429done\n');
});

test('of changes that are asked for at once the last one counts; an ended sandbox takes none', async () => {
  await using box = new EgressBox('process');
  const sandbox = await box.create();
  const wide = sandbox.network.update({ allow: ['one.other.test', 'two.other.test'] });
  const narrow = sandbox.network.update({ allow: ['one.other.test'] });
  const [first, last] = await Promise.all([wide, narrow]);
  const changes = box.records().filter((record) => record.kind === 'policy.changed');
  expect(changes.map(({ data }) => data['policy'])).toEqual([first.policy, last.policy]);
  await sandbox.kill();
  await expect(sandbox.network.update({})).rejects.toMatchObject({ code: 'E_SANDBOX_CLOSED' });
});
