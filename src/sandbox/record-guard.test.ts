import { expect, test } from 'vitest';
import { makeRecordGuard } from './record-guard.ts';

const SECRET = 'correct-horse-battery-staple';
const TOKEN = ['ghp_', 'x7Qm2Kp9Vt4Zr8Bn3Hc6', 'Df1Gs5Wy0LaJe2Ui'].join('');
const PLACEHOLDER = ['ghp_', 'a9Rk3Lw7Yb2Nv6Xc1Tz5', 'Pq8Mh4Fs0DgJo2Eu'].join('');

const guard = await makeRecordGuard(
  { canaries: ['canary-7f1c9a52'], custom: [{ name: 'case', pattern: 'CASE-[0-9]{8}' }] },
  {
    secrets: () => [{ name: 'K', bytes: Buffer.from(SECRET) }],
    placeholders: () => [{ text: PLACEHOLDER }],
  },
);

test.each([
  ['a known secret', `/v1/${SECRET}/x`],
  ['its base64', `/v1/${Buffer.from(SECRET).toString('base64')}`],
  ['its hex', `/v1/${Buffer.from(SECRET).toString('hex')}`],
  ['percent coded', `/v1/${Buffer.from(SECRET).toString('hex').replace(/../g, '%$&')}`],
  ['a token of a provider', `the rule does not allow GET "/leak/${TOKEN}"`],
  ['an AWS key id', '/AKIAQ7XW2M4N6P3R5T2V'],
  ['a canary', '/canary-7f1c9a52'],
  ['a pattern of the policy', '/CASE-12345678'],
])('%s is found', (_what, text) => {
  expect(guard.holdsSecret(text)).toBe(true);
});

test.each([
  ['an ordinary path', '/repos/acme/widget/issues/42'],
  ['a commit', '/repos/acme/widget/commits/2c26b46b68ffc68ff99b453c1d30413413422d70'],
  ['a uuid', '/v1/jobs/9f1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9'],
  ['a reason', 'network.allow[2] does not allow GET "/v2/%E2%82%AC/x"'],
  ['a placeholder', `/v1/${PLACEHOLDER}`],
])('%s is not', (_what, text) => {
  expect(guard.holdsSecret(text)).toBe(false);
});

test('works without rules for what leaves, and without credentials', async () => {
  const bare = await makeRecordGuard(undefined, { secrets: () => [] });
  expect(bare.holdsSecret(`/${TOKEN}`)).toBe(true);
  expect(bare.holdsSecret(`/${SECRET}`)).toBe(false);
});
