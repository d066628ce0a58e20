import { describe, expect, it } from 'vitest';
import { parsePolicyFile } from './parse.ts';
import { formatProblem } from './problems.ts';
import { checkDocument, isProblems } from './schema-errors.ts';

function problems(text: string): readonly string[] {
  const result = checkDocument(parsePolicyFile('p.yaml', Buffer.from(text)));
  return isProblems(result) ? result.map(formatProblem) : [];
}

const HOST = 'expected a host such as api.example.com or *.example.com';

describe('checkDocument', () => {
  it('accepts the whole language', () => {
    const text = `
$schema: ./policy.schema.json
version: 1
extends: [profile:node]
description: all of it
tier: vm+gvisor
filesystem:
  workspace: { path: ., writable: false }
  mode: review
  read: [~/.gitconfig, { path: ~/x, why: needed, optional: true }]
  write: [/var/cache/build, { path: "/odd/[id]", literal: true }]
  deny: [.env, "**/*.pem"]
  protect: [Makefile, "!.vscode"]
  tmp: 256MiB
network:
  allow:
    - api.github.com
    - "*.example.com:8443"
    - "[2606:4700::1111]:443"
    - host-loopback:5432
    - { id: llm, host: api.anthropic.com, tls: inspect, methods: [POST], paths: [/v1/messages], credential: anthropic, budget: { requests: 10, upload: 1MiB } }
    - { host: db.internal, ports: [5432], protocol: tcp, private: true }
    - { host: 10.1.2.3, port: 80, protocol: http, private: true }
  deny: [tracker.example.com, "*.com", { host: x.example.com, ports: [22], reason: no }]
  budget: { requests: 1000, upload: 10MiB, download: 1GiB, connections: unlimited, names: 5 }
credentials:
  anthropic: { from: "env:ANTHROPIC_API_KEY", header: x-api-key }
process: { env: [LANG, { name: TERM, why: colour }, { set: { A: b } }], seccomp: strict, user: sandbox, nesting: true }
limits: { cpu: 1.5, memory: 1GiB, pids: 256, files: 1024, fileSize: 1GiB, output: 16MiB, timeout: 10m, ttl: 30m, require: [memory, pids] }
approvals: { any: [thing, 1, null] }
monitor: {}
`;
    expect(problems(text)).toEqual([]);
  });

  it.each([
    ['tier: vm', ['p.yaml:1:1: version: expected 1: it is missing']],
    ['version: 2', ['p.yaml:1:10: version: found 2, expected 1']],
    ['[]', ['p.yaml:1:1: found an empty list, expected a mapping']],
    ['', ['p.yaml:1:1: found nothing, expected a mapping']],
    ['version: 1\nnetwrok: {}', ['p.yaml:2:1: netwrok: there is no such key (did you mean network?)']],
    [
      'version: 1\nnetwork: { alow: [] }',
      ['p.yaml:2:12: network.alow: there is no such key (did you mean allow?)'],
    ],
    [
      'version: 1\ndriver: dokcer',
      [
        'p.yaml:2:9: driver: found "dokcer", expected one of gvisor, docker, podman, qemu, firecracker (did you mean docker?)',
      ],
    ],
    [
      'version: 1\nnetwork: { network: {} }',
      [
        'p.yaml:2:12: network.network: there is no such key; known here: mode, allow, deny, budget, overBudget, dlp, parentProxy, ask, trust',
      ],
    ],
    ['version: 1\nnetwork: { allow: null }', ['p.yaml:2:19: network.allow: found nothing, expected a list']],
    ['version: 1\nnetwork: { allow: x.com }', ['p.yaml:2:19: network.allow: found "x.com", expected a list']],
    [
      'version: 1\nnetwork: { allow: [[]] }',
      ['p.yaml:2:20: network.allow[0]: found an empty list, expected a host, or { host, ports, … }'],
    ],
    [
      'version: 1\nnetwork: { allow: [{ host: a.com, ports: [] }] }',
      ['p.yaml:2:42: network.allow[0].ports: found an empty list, expected at least one port'],
    ],
    [
      'version: 1\nnetwork: { allow: [{ host: a.com, ports: ["443"] }] }',
      ['p.yaml:2:43: network.allow[0].ports[0]: found "443", expected a port from 1 to 65535'],
    ],
    [
      'version: 1\nnetwork: { allow: [{ host: a.com, prts: [1] }] }',
      ['p.yaml:2:35: network.allow[0].prts: there is no such key (did you mean ports?)'],
    ],
    [
      'version: 1\nprocess: { nesting: yes }',
      ['p.yaml:2:21: process.nesting: found "yes", expected true or false (did you mean true?)'],
    ],
    [
      'version: 1\nprocess: { env: [LD_PRELOAD] }',
      [
        'p.yaml:2:18: process.env[0]: found "LD_PRELOAD", expected a variable that may pass: it steers a loader or interpreter, so the host\'s value never passes; `set` it if the sandbox needs one',
      ],
    ],
    [
      'version: 1\nprocess: { env: [A=b] }',
      [
        'p.yaml:2:18: process.env[0]: found "A=b", expected the name of one environment variable: to set a value write { set: { NAME: value } }',
      ],
    ],
    [
      'version: 1\ntier: contaner',
      [
        'p.yaml:2:7: tier: found "contaner", expected one of process, container, vm, vm+gvisor, auto (did you mean container?)',
      ],
    ],
    [
      'version: 1\nlimits: { memory: 512M }',
      [
        'p.yaml:2:19: limits.memory: found "512M", expected a size such as 256MiB, or unlimited (did you mean 512MiB?)',
      ],
    ],
    [
      'version: 1\nlimits: { timeout: 600 }',
      [
        'p.yaml:2:20: limits.timeout: found 600, expected a time such as 90s or 10m, or unlimited (did you mean 600s?)',
      ],
    ],
    [
      'version: 1\nlimits: { timeout: 30d }',
      [
        'p.yaml:2:20: limits.timeout: found "30d", expected a time such as 90s or 10m, or unlimited: it must be above 0 and at most 24d',
      ],
    ],
    [
      'version: 1\nlimits: { pids: 0 }',
      ['p.yaml:2:17: limits.pids: found 0, expected a whole number from 1, or unlimited'],
    ],
    [
      'version: 1\nfilesystem: { tmp: unlimited }',
      ['p.yaml:2:20: filesystem.tmp: found "unlimited", expected a size of at least 64KiB, such as 256MiB'],
    ],
    [
      'version: 1\nfilesystem: { read: [""] }',
      ['p.yaml:2:22: filesystem.read[0]: found "", expected a path: it is empty'],
    ],
    [
      'version: 1\nfilesystem: { write: [/] }',
      ['p.yaml:2:23: filesystem.write[0]: found "/", expected a path: it is the whole machine'],
    ],
    [
      'version: 1\nfilesystem: { deny: ["!x"] }',
      [
        'p.yaml:2:22: filesystem.deny[0]: found "!x", expected a path: a denial cannot be lifted; remove the entry that denies it',
      ],
    ],
    [
      'version: 1\ncredentials: { a: sk-secret-value }',
      ['p.yaml:2:19: credentials.a: found text, expected a mapping'],
    ],
  ])('%s', (text, expected) => {
    expect(problems(text)).toEqual(expected);
  });

  it.each([
    ['"*"', `${HOST}: it would match every host; name the hosts, or say network.mode: names`],
    ['"**"', `${HOST}: it would match every host; name the hosts; nothing else can be allowed by one rule`],
    ['"*.com"', `${HOST}: it would match all of .com; name at least two labels after "*."`],
    [
      '"*.co.uk"',
      `${HOST}: co.uk is a public suffix: everybody registers names there (did you mean *.yourname.co.uk?)`,
    ],
    [
      '"*.github.io"',
      `${HOST}: anybody can publish under github.io (did you mean the exact host, such as yourname.github.io?)`,
    ],
    ['"a*.allowed.test"', `${HOST}: "*" may only be the whole first label (did you mean *.example.com?)`],
    ['https://x.test/a', `${HOST}: it is a URL (did you mean x.test?)`],
    ['user@api.allowed.test', `${HOST}: it holds user information (did you mean api.allowed.test?)`],
    ['10.0.0.0/8', 'expected { host: 10.0.0.0/8, private: true, … }: it is a private address'],
    ['10.0.0.1/8', `${HOST}: it has address bits behind its prefix (did you mean 10.0.0.0/8?)`],
    ['0.0.0.0/0', `${HOST}: it holds this host (RFC 1122), which no rule may open`],
    ['8.0.0.0/8', `${HOST}: it is too broad: a range of public addresses begins at /16`],
    ['172.16.0.0/11', `${HOST}: it has address bits behind its prefix (did you mean 172.0.0.0/11?)`],
    ['169.254.0.0/16', `${HOST}: it holds link-local (RFC 3927), which no rule may open`],
    ['bücher.test', `${HOST}: it holds characters outside ASCII (did you mean xn--bcher-kva.test?)`],
    ['".allowed.test"', `${HOST}: it has an empty label`],
    [
      '" api.allowed.test"',
      `${HOST}: it holds a space or control character (did you mean api.allowed.test?)`,
    ],
    ['"api.allowed.test:0"', `${HOST}: its port is not 1 to 65535 (did you mean api.allowed.test:443?)`],
    [
      'localhost',
      `${HOST}: inside, it is the sandbox itself and needs no rule (did you mean host-loopback with a port, for a service on this machine?)`,
    ],
    [
      '127.0.0.1',
      `${HOST}: it is loopback (RFC 1122), which no rule may open (did you mean host-loopback with a port?)`,
    ],
    ['169.254.169.254', `${HOST}: it is a cloud metadata service, which no rule may open`],
    ['metadata.google.internal', `${HOST}: it is a cloud metadata service, which no rule may open`],
    ['10.1.2.3', 'expected { host: 10.1.2.3, private: true, … }: it is a private address'],
    ['host-loopback', 'expected host-loopback:PORT: a service on this machine is allowed by its port'],
  ])('refuses the host %s', (host, expected) => {
    const [line = ''] = problems(`version: 1\nnetwork: { allow: [${host}] }`);
    expect(line.replace(/^.*?(?=expected )/, '')).toBe(expected);
  });

  it.each([
    ['{ host: a.com, port: 1, ports: [2] }', 'network.allow[0].port: found 1, expected either port or ports'],
    [
      '{ host: a.com, protocol: tcp }',
      'network.allow[0].protocol: found "tcp", expected ports beside protocol tcp: tcp has no default port',
    ],
    [
      '{ host: a.com, protocol: tcp, port: 1, methods: [GET] }',
      'network.allow[0].methods: found a list, expected a rule that inspects: tcp is opaque',
    ],
    [
      '{ host: a.com, tls: passthrough, paths: [/x] }',
      'network.allow[0].paths: found a list, expected a rule that inspects: tls: passthrough does not look inside',
    ],
    [
      '{ host: a.com, methods: [get] }',
      'network.allow[0].methods[0]: found "get", expected an HTTP method in capitals (did you mean GET?)',
    ],
    [
      '{ host: a.com, paths: ["/v1/%66iles"] }',
      'network.allow[0].paths[0]: found "/v1/%66iles", expected a path that begins with "/" and has no "%" escapes',
    ],
    [
      '{ host: "*.a.com", credential: gh }',
      'network.allow[0].credential: found "gh", expected one exact host: a wildcard could send the credential to a host nobody named',
    ],
    [
      '{ host: a.com, protocol: http, credential: gh }',
      'network.allow[0].credential: found "gh", expected protocol: https: http would send the credential in clear',
    ],
    [
      '{ host: 192.168.1.1, ports: [80] }',
      'network.allow[0].host: found "192.168.1.1", expected private: true beside it: it is a private address',
    ],
    [
      '{ host: 10.3.0.1, private: [10.2.0.0/16] }',
      'network.allow[0].private: found a list, expected a range that holds 10.3.0.1: the rule could never be used',
    ],
    [
      '{ host: a.com, private: [10.2.0.1/16] }',
      'network.allow[0].private[0]: found "10.2.0.1/16", expected a range of private addresses such as 10.2.0.0/16: it has address bits behind its prefix (did you mean 10.2.0.0/16?)',
    ],
    [
      '{ host: a.com, private: [127.0.0.0/8] }',
      'network.allow[0].private[0]: found "127.0.0.0/8", expected a range of private addresses such as 10.2.0.0/16: it holds loopback (RFC 1122), which no rule may open',
    ],
    [
      '{ host: a.com, private: [8.8.0.0/16] }',
      'network.allow[0].private[0]: found "8.8.0.0/16", expected a range of private addresses such as 10.2.0.0/16: it holds public addresses, which need no word',
    ],
    [
      '{ host: a.com, private: [10.2.3.4] }',
      'network.allow[0].private[0]: found "10.2.3.4", expected a range of private addresses such as 10.2.0.0/16: it is not an address range',
    ],
    [
      '{ host: a.com, private: [] }',
      'network.allow[0].private: found an empty list, expected at least one range',
    ],
    [
      '{ host: a.com, private: maybe }',
      'network.allow[0].private: found "maybe", expected true, false, or a list of ranges such as [10.2.0.0/16]',
    ],
    [
      '{ host: host-loopback, ports: [80] }',
      'network.allow[0].host: found "host-loopback", expected protocol: tcp, http or https beside it: what a service on this machine speaks cannot be told from its port',
    ],
    [
      '{ host: a.com, mcp: { tools: [ok] }, websocket: allow }',
      'network.allow[0].websocket: found "allow", expected inspect, or deny: mcp judges every message, and allow reads none',
    ],
    [
      '{ host: a.com, graphql: {}, websocket: allow }',
      'network.allow[0].websocket: found "allow", expected inspect, or deny: graphql judges every message, and allow reads none',
    ],
    [
      '{ host: a.com, preset: llm-api, websocket: allow }',
      'network.allow[0].websocket: found "allow", expected inspect, or deny: preset llm-api judges every message, and allow reads none',
    ],
    [
      '{ host: a.com, matchers: { method: GET } }',
      'network.allow[0].matchers: there is no such key; known here: id, host, port, ports, protocol, private, allowNoSni, tls, hostKeys, keys, budget, preset, methods, paths, requests, refuse, mode, http2, encodedSlash, websocket, requestHeaders, setHeaders, removeHeaders, stripResponseHeaders, json, mcp, graphql, credential, pin, credentials, dlp, limits, why',
    ],
  ])('refuses the rule %s', (rule, expected) => {
    const [line = ''] = problems(`version: 1\nnetwork: { allow: [${rule}] }`);
    expect(line.replace(/^p\.yaml:\d+:\d+: /, '')).toBe(expected);
  });

  it('reports every problem at once, in the order of the file', () => {
    const found = problems('version: 1\ntier: x\nnetwork:\n  allow: [1, "*"]\nlimits: { cpu: -1 }\nzzz: 1\n');
    expect(found.map((line) => line.split(':').slice(1, 3).join(':'))).toEqual([
      '2:7',
      '4:11',
      '4:14',
      '5:16',
      '6:1',
    ]);
  });
});
