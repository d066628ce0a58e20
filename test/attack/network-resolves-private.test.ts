// An allowed name that leads to the host itself. Source: DNS rebinding; crabbox #912, mitos #55: the name is vetted, the address is not.
import { hostname } from 'node:os';
import { lookup } from 'node:dns/promises';
import { AttackBox, CanaryService, expectDenied, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

// The machine's own name leads to one of its own addresses wherever it resolves at all.
const name = hostname().includes('.') ? hostname() : 'localhost.localdomain';
const resolves = await lookup(name).then(
  () => true,
  () => false,
);

forEachTier(
  'an allowed name is refused when it leads to this machine',
  async (tier) => {
    using box = new AttackBox(tier);
    await using service = await CanaryService.on({ host: '0.0.0.0', port: 0 });
    box.policy(
      `version: 1\nnetwork:\n  allow:\n    - { host: ${name}, ports: [${service.port}], protocol: tcp, private: true }\n`,
    );
    await box.python(`attempt('connect', lambda: talk(('${name}', ${service.port}), b'x'))`);
    expect(service.connections).toBe(0);
    expectDenied(box, { host: name, port: service.port });
  },
  [resolves ? undefined : `${name} does not resolve here`],
);
