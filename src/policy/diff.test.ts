import { describe, expect, it } from 'vitest';
import type { CommandLineLayer, Policy } from './contract.ts';
import { diffPolicies, formatDifference } from './diff.ts';
import { explainPolicy } from './explain.ts';
import { caught, PolicyFixture } from './fixture.ts';
import { resolvePolicy } from './resolve.ts';

const policyOf = (fixture: PolicyFixture, layer: CommandLineLayer = {}): Policy =>
  resolvePolicy(fixture.context, layer).policy;

describe('diffPolicies', () => {
  it('says of each difference whether it widens or narrows, and what happened', () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nnetwork: { allow: ["*.a.test"], deny: [x.test] }\nlimits: { pids: 10 }\n');
    const before = policyOf(fixture);
    fixture.user(
      'version: 1\ntier: vm\nnetwork: { allow: [b.a.test, c.test] }\nfilesystem: { read: [/opt], deny: [.env] }\nprocess: { nesting: true, user: me, env: [TOKEN] }\nlimits: { memory: 1GiB, require: [memory] }\n',
    );
    expect(diffPolicies(before, policyOf(fixture)).map(formatDifference)).toEqual([
      'widens   changed  process.nesting  false -> true',
      'widens   changed  limits.pids  10 -> 1024',
      'widens   added    filesystem.read  /opt',
      'widens   added    network.allow  c.test:443 (https)',
      'widens   removed  network.deny  x.test',
      'widens   added    process.env  TOKEN',
      'narrows  changed  tier  process -> vm',
      'narrows  changed  limits.memory  4GiB -> 1GiB',
      `narrows  added    filesystem.deny  ${fixture.workspace}/.env`,
      'narrows  removed  network.allow  *.a.test:443 (https)',
      'narrows  added    limits.require  memory',
      'neither  changed  process.user  sandbox -> me',
      'neither  added    network.allow  b.a.test:443 (https)  (allowed already)',
    ]);
  });

  it('takes an engine for weaker than gVisor, and one engine for other than another', () => {
    using fixture = new PolicyFixture();
    const text = (from: CommandLineLayer, to: CommandLineLayer): readonly string[] =>
      diffPolicies(policyOf(fixture, from), policyOf(fixture, to)).map(formatDifference);
    expect(text({}, { driver: 'gvisor' })).toEqual([]);
    expect(text({}, { driver: 'docker' })).toEqual(['widens   changed  driver  gvisor -> docker']);
    expect(text({ driver: 'docker' }, { driver: 'podman' })).toEqual([
      'widens   changed  driver  docker -> podman',
    ]);
    expect(text({ driver: 'docker' }, {})).toEqual(['narrows  changed  driver  docker -> gvisor']);
  });

  it('finds nothing between equals, wherever they were written', () => {
    using fixture = new PolicyFixture();
    fixture.user('version: 1\nnetwork: { allow: [a.test] }\n');
    const before = policyOf(fixture);
    fixture.user(
      '\n\n# moved\nversion: 1\nnetwork:\n  allow: [{ host: A.test., port: 443, why: because }]\n',
    );
    expect(diffPolicies(before, policyOf(fixture))).toEqual([]);
  });

  it('shows where a credential goes, and no command line, which may hold a secret', () => {
    using fixture = new PolicyFixture();
    const before = policyOf(fixture);
    fixture.user(
      'version: 1\ncredentials: { k: { from: { command: [pass, show, sk-pasted] }, header: x-k, hosts: [a.test] } }\n',
    );
    const text = diffPolicies(before, policyOf(fixture)).map(formatDifference).join('\n');
    expect(text).toMatch(
      /^widens {3}added {4}credentials {2}k: from command "pass" with 2 arguments, to a\.test:443, in header:x-k \(sha256 [0-9a-f]{12}\)$/,
    );
    fixture.user(
      'version: 1\ncredentials: { k: { from: sk-pasted-by-mistake, header: x-k, hosts: [a.test] } }\n',
    );
    expect(caught(() => policyOf(fixture)).message).not.toContain('pasted');
  });
});

describe('explainPolicy', () => {
  it('names the source of each line', () => {
    using fixture = new PolicyFixture();
    const file = fixture.user(
      'version: 1\nextends: [profile:node]\nnetwork: { allow: [{ host: a.test, why: "because\\u001b[31m" }] }\nlimits: { memory: 1GiB }\n',
    );
    const text = explainPolicy(policyOf(fixture, { allow: ['b.test'] }), { sources: true });
    expect(text).toContain(
      '  allow    registry.npmjs.org:443 (https)  <- profile:node:7 by user: package metadata and tarballs\n',
    );
    expect(text).toContain(`  allow    a.test:443 (https)  <- ${file}:3:20: because\\x1b[31m\n`);
    expect(text).toContain('  allow    b.test:443 (https)  <- command-line\n');
    expect(text).toContain(`  limits.memory            1GiB  <- ${file}:4:19\n`);
    expect(text).toContain('  limits.timeout           unlimited\n');
    expect(text).toContain(
      `  protect  ${fixture.workspace}/.envrc  <- built-in: direnv runs it on entering the directory\n`,
    );
    expect(text).toMatch(/pass {5}LANG {2}<- profile:default:10 by user: programs write text/);
  });

  it('is short without sources', () => {
    using fixture = new PolicyFixture();
    const text = explainPolicy(policyOf(fixture), { sources: false });
    expect(text).toMatch(/protect {2}\d+ built-in names \(shown with --sources\)/);
    expect(text).toContain('network\n  nothing');
    expect(text).not.toContain('<-');
  });
});
