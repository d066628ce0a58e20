import { describe, expect, it } from 'vitest';
import { caught } from '../fixture.ts';
import { parsePolicyFile } from '../parse.ts';
import { formatProblem } from '../problems.ts';
import { checkDocument, isProblems } from '../schema-errors.ts';
import { importSrt } from './srt.ts';
import { SRT_TABLE } from './srt-table.ts';

const bytes = (settings: unknown): Buffer => Buffer.from(JSON.stringify(settings, null, 1));
const message = (settings: unknown): string =>
  caught(() => importSrt('srt.json', bytes(settings), { partial: false })).message;

describe('importSrt', () => {
  it('translates what has an equal', () => {
    const { yaml } = importSrt(
      'srt.json',
      bytes({
        network: {
          allowedDomains: ['api.github.com:443', '*.npmjs.org'],
          deniedDomains: ['x.npmjs.org:22', '*.ads.test'],
          deniedDomainReasons: { '*.ads.test': 'no ads' },
          strictAllowlist: true,
          allowLocalBinding: false,
        },
        filesystem: {
          denyRead: ['~/.ssh', '**/*.pem'],
          allowRead: ['~/docs/**'],
          allowWrite: ['.', '/srv/out'],
          denyWrite: ['Makefile'],
          allowGitConfig: true,
        },
        credentials: {
          files: [{ path: '~/.aws', mode: 'deny' }],
          envVars: [{ name: 'TOKEN', mode: 'deny' }],
        },
        allowNestedUserNamespaces: true,
        mandatoryDenySearchDepth: 3,
      }),
      { partial: false },
    );
    expect(yaml).toBe(`# Translated from srt settings.
# srt shows the whole disk but what is denied; Glovebox shows the workspace, the base system and what \`read\` names.
# network.allowedDomains: *.npmjs.org meant every port; here it is 443 (TLS) and 80 (HTTP)
# network.strictAllowlist: what is not allowed is refused; nobody is asked
# credentials.envVars: TOKEN stays outside, as every variable that process.env does not name
# mandatoryDenySearchDepth: protected names are held by name, not searched for
version: 1
extends:
  - profile:default
filesystem:
  read:
    - ~/docs
  write:
    - /srv/out
  deny:
    - ~/.ssh
    - "**/*.pem"
    - ~/.aws
  protect:
    - Makefile
    - "!.git/config"
network:
  allow:
    - api.github.com:443
    - "*.npmjs.org"
    - "*.npmjs.org:80"
  deny:
    - host: x.npmjs.org
      ports:
        - 22
    - host: "*.ads.test"
      reason: no ads
process:
  nesting: true
`);
    const doc = checkDocument(parsePolicyFile('out.yaml', Buffer.from(yaml)));
    expect(isProblems(doc)).toBe(false);
  });

  it('refuses misspelt keys, which srt drops silently', () => {
    expect(message({ network: { allowedDomain: [] }, filesytem: {}, filesystem: { denyreads: [] } }))
      .toBe(`the policy has 3 problems:
  srt.json:3:3: network.allowedDomain: srt has no such key (did you mean allowedDomains?)
  srt.json:5:2: filesytem: srt has no such key (did you mean filesystem?)
  srt.json:7:3: filesystem.denyreads: srt has no such key (did you mean denyRead?)`);
  });

  it('refuses wrong kinds of values', () => {
    expect(message({ network: { allowedDomains: 'x' } })).toBe(
      'srt.json:3:21: network.allowedDomains: found "x", expected a list of text',
    );
    expect(message([])).toBe('srt.json:1:1: found an empty list, expected srt settings');
  });

  it.each([
    [{ network: { allowAllUnixSockets: true } }, 'network.allowAllUnixSockets', 'system call filter'],
    [{ network: { deniedDomains: ['*'] } }, 'network.deniedDomains', 'every host'],
    [{ network: { mitmProxy: {} } }, 'network.mitmProxy', 'external proxy'],
    [
      { network: { deniedResolvedAddresses: ['203.0.113.0/24'] } },
      'network.deniedResolvedAddresses',
      'cannot be denied',
    ],
    [{ filesystem: { denyRead: ['~/x'], allowRead: ['~/x/y'] } }, 'filesystem.allowRead', 're-opens'],
    [{ filesystem: { allowWrite: ['build-*'] } }, 'filesystem.allowWrite', 'grants nothing'],
    [{ filesystem: { disabled: true } }, 'filesystem.disabled', 'no sandbox'],
    [
      { credentials: { files: [{ path: '~/.aws', mode: 'mask' }] } },
      'credentials.files',
      'credential broker',
    ],
    [{ bwrapPath: '/x' }, 'bwrapPath', 'own helpers'],
    [{ windows: {} }, 'windows', 'Windows only'],
  ])('refuses %j by name', (settings, key, why) => {
    const text = message(settings);
    expect(text).toContain(`${key}: it cannot be carried over: `);
    expect(text).toContain(why);
    const { yaml, refused } = importSrt('srt.json', bytes(settings), { partial: true });
    expect(refused.map((problem) => problem.key)).toEqual([key]);
    expect(formatProblem(refused[0] ?? { key: '' })).toContain(why);
    expect(yaml).toContain(`# NOT CARRIED OVER ${key}: `);
  });

  it('knows every key once', () => {
    const keys = SRT_TABLE.map((row) => row.key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys).toHaveLength(45);
  });
});
