import { describe, expect, test } from 'vitest';
import type { NetworkDeny, NetworkRule } from '../policy/contract.ts';
import { Budgets } from './budgets.ts';
import { Judge, printable, remedyFor } from './decide.ts';
import { EventLog } from './event-log.ts';
import type { NetworkEvent } from './contract.ts';
import { NameGate } from './name-gate.ts';
import { SyntheticNames } from './synthetic.ts';

function rule(host: string, ports: readonly number[], more: Partial<NetworkRule> = {}): NetworkRule {
  const origin = {
    layer: 'project',
    position: { file: '/w/.glovebox/policy.yaml', line: 12, column: 5 },
  } as const;
  return {
    id: `network.allow[${host}]`,
    host,
    ports,
    protocol: 'https',
    private: false,
    allowNoSni: false,
    origin,
    ...more,
  };
}

const deny = (host: string, more: Partial<NetworkDeny> = {}): NetworkDeny => ({
  id: `network.deny[${host}]`,
  host,
  origin: { layer: 'organisation' },
  ...more,
});

const judge = new Judge(
  {
    allow: [
      rule('*.wild.test', [443, 8443]),
      rule('*.deep.wild.test', [443], { id: 'deep' }),
      rule('x.deep.wild.test', [443], { id: 'exact' }),
      rule('x.deep.wild.test', [443], { id: 'second' }),
      rule('10.1.2.3', [8080], { private: true, protocol: 'tcp' }),
      rule('10.9.9.9', [8080], { protocol: 'tcp' }),
      rule('127.0.0.1', [8080], { private: true }),
      rule('169.254.169.254', [80], { private: true }),
      rule('203.0.114.5', [80]),
      rule('localhost', [80]),
      rule('host-loopback', [3000], { protocol: 'tcp' }),
      rule('2606:4700::1111', [443]),
    ],
    deny: [
      deny('bad.wild.test', { reason: 'not for agents' }),
      deny('*.bad.wild.test'),
      deny('part.wild.test', { ports: [8443] }),
    ],
    budget: {},
  },
  () => new Set(['203.0.114.5']),
);

describe('Judge', () => {
  test.each([
    ['a.wild.test', 443, 'network.allow[*.wild.test]'],
    ['A.WILD.test.', 443, 'network.allow[*.wild.test]'],
    ['a.deep.wild.test', 443, 'deep'],
    ['x.deep.wild.test', 443, 'exact'],
    ['x.deep.wild.test', 8443, 'network.allow[*.wild.test]'],
    ['10.1.2.3', 8080, 'network.allow[10.1.2.3]'],
    ['2606:4700:0::1111', 443, 'network.allow[2606:4700::1111]'],
    ['host-loopback', 3000, 'network.allow[host-loopback]'],
    ['part.wild.test', 443, 'network.allow[*.wild.test]'],
  ])('%s port %i is allowed by %s', (host, port, id) => {
    expect(judge.decide(host, port)).toMatchObject({
      action: 'allow',
      verdict: { rule: id, source: '/w/.glovebox/policy.yaml:12' },
    });
  });

  test.each([
    ['wild.test', 443, 'default.deny'],
    ['evilwild.test', 443, 'default.deny'],
    ['a.wild.test', 80, 'default.deny'],
    ['bad.wild.test.', 443, 'network.deny[bad.wild.test]'],
    ['x.BAD.wild.test', 443, 'network.deny[*.bad.wild.test]'],
    ['part.wild.test', 8443, 'network.deny[part.wild.test]'],
    ['10.1.2.4', 8080, 'default.deny'],
    ['10.9.9.9', 8080, 'structural.private'],
    ['127.0.0.1', 8080, 'structural.loopback'],
    ['169.254.169.254', 80, 'structural.metadata'],
    ['203.0.114.5', 80, 'structural.host'],
    ['localhost', 80, 'structural.loopback'],
    ['a.localhost', 80, 'structural.loopback'],
    ['metadata.google.internal', 80, 'structural.metadata'],
    ['::ffff:127.0.0.1', 80, 'structural.reserved'],
    ['0x7f.1', 80, 'structural.malformed'],
    ['evil.test\u0000.wild.test', 443, 'structural.malformed'],
    ['host-loopback', 3001, 'default.deny'],
  ])('%j port %i is refused by %s', (host, port, id) => {
    expect(judge.decide(host, port)).toMatchObject({ action: 'deny', verdict: { rule: id } });
  });

  test('refusals say what would allow', () => {
    expect(judge.decide('api.example.com', 443).verdict.remedy).toContain('`--allow api.example.com`');
    expect(judge.decide('a.wild.test', 80).verdict.reason).toBe(
      'a.wild.test is allowed on port 443, 8443 only, not on 80',
    );
    expect(judge.decide('bad.wild.test', 443).verdict).toMatchObject({
      reason: 'not for agents',
      source: 'organisation',
    });
    expect(judge.decide('10.9.9.9', 8080).verdict.remedy).toContain('private: true');
    expect(judge.decide('localhost', 80).verdict.remedy).toContain('host-loopback');
    expect(judge.decide('169.254.169.254', 80).verdict.remedy).toBeUndefined();
    expect(remedyFor('2606:4700::1', 5432)).toContain('[2606:4700::1]:5432');
  });

  test('names are allowed for DNS when a port is left', () => {
    expect(judge.decideName('part.wild.test').action).toBe('allow');
    expect(judge.decideName('bad.wild.test').action).toBe('deny');
    expect(judge.decideName('evil.test').verdict.rule).toBe('default.deny');
  });

  test('a rule with a host that cannot be read refuses the whole policy', () => {
    const broken = { allow: [], deny: [deny('a*b.test')], budget: {} };
    expect(() => new Judge(broken)).toThrow('network.deny[a*b.test] names the host');
    expect(() => new Judge({ ...broken, deny: [], allow: [rule('**', [443])] })).toThrow('every host');
  });

  test('text of a sandbox is escaped for records', () => {
    expect(printable('a\u001b[2J\r\n"\\é')).toBe('a\\u001b[2J\\u000d\\u000a\\u0022\\u005c\\u00e9');
    expect(printable('x'.repeat(500))).toMatch(/^x{128}…\(500\)$/);
  });
});

test('budgets: of the rule and of the whole; what would pass one is not taken', () => {
  const own = rule('a.test', [443], { budget: { requests: 2 } });
  const other = rule('b.test', [443]);
  const budgets = new Budgets({ allow: [own, other], deny: [], budget: { uploadBytes: 100 } });
  expect(budgets.take(own, 'requests')).toBeUndefined();
  expect(budgets.take(own, 'requests')).toBeUndefined();
  expect(budgets.take(own, 'requests')).toMatchObject({ rule: 'network.allow[a.test].budget.requests' });
  expect(budgets.take(other, 'requests')).toBeUndefined();
  expect(budgets.take(other, 'uploadBytes', 60)).toBeUndefined();
  expect(budgets.take(own, 'uploadBytes', 60)).toMatchObject({ rule: 'network.budget.upload' });
  expect(budgets.take(own, 'uploadBytes', 40)).toBeUndefined();
});

test('synthetic addresses are stable, never reused, never 0 or 255, and bounded', () => {
  const names = new SyntheticNames('benchmark', 600);
  const given = Array.from({ length: 600 }, (_, i) => names.addressOf(`n${i}.test`));
  expect(given[0]).toBe('198.18.0.1');
  expect(new Set(given).size).toBe(600);
  expect(
    given.every((address) => address !== undefined && names.covers(address) && !/\.(?:0|255)$/.test(address)),
  ).toBe(true);
  expect(names.addressOf('n0.test')).toBe('198.18.0.1');
  expect(names.nameOf('198.18.0.1')).toBe('n0.test');
  expect(names.addressOf('one-more.test')).toBeUndefined();
  expect(new SyntheticNames('loopback', 5).addressOf('a.test')).toBe('127.128.0.1');
  expect(names.covers('198.20.0.1')).toBe(false);
});

test('new names under a wildcard are counted by the minute; known ones and exact ones are free', () => {
  let now = 0;
  const budgets = new Budgets({ allow: [], deny: [], budget: {} });
  const gate = new NameGate({ names: 100, wildcardNamesPerMinute: 3 }, budgets, () => now);
  const wild = rule('*.wild.test', [443]);
  for (const name of ['a', 'b', 'c', 'a']) expect(gate.admit(`${name}.wild.test`, wild)).toBeUndefined();
  expect(gate.admit('d.wild.test', wild)).toMatchObject({ rule: 'structural.names-per-minute' });
  expect(gate.admit('exact.test', rule('exact.test', [443]))).toBeUndefined();
  now = 61_000;
  expect(gate.admit('d.wild.test', wild)).toBeUndefined();
  expect(gate.admit('mzxw6ytboi2gk3tfonvwk3dmn5zgkz3bonsxg5d.wild.test', wild)).toMatchObject({
    rule: 'structural.data-in-name',
  });
});

test('equal refusals are counted, and every one is accounted for', () => {
  const seen: NetworkEvent[] = [];
  const log = new EventLog(
    (event) => seen.push(event),
    { refusalKeys: 2, refusalBurst: 3, refusalsPerSecond: 0, flushMs: 10_000 },
    () => 0,
  );
  const event = (host: string): NetworkEvent => ({
    action: 'deny',
    rule: 'default.deny',
    reason: 'r',
    entry: 'dns',
    host,
    port: 53,
  });
  for (const host of ['a', 'a', 'a', 'b', 'c', 'd', 'e', 'f', 'a']) log.record(event(host));
  log.close();
  expect(seen.reduce((sum, entry) => sum + (entry.repeats ?? 1), 0)).toBe(9);
  expect(seen[0]).not.toHaveProperty('repeats');
  expect(seen.some((entry) => entry.host === '(many hosts)')).toBe(true);
  expect(log.denied).toBe(9);
});
