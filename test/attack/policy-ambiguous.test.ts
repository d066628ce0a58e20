// A policy that is misspelt, empty, or allows everything must not open anything. Source: CVE-2025-66479 (srt: empty allow list meant "all").
import { expect } from 'vitest';
import { AttackBox, expectDenied, expectRefused, forEachTier } from '../support/attack.ts';

forEachTier('an empty list denies, an unknown key or a bare star is an error', async (tier) => {
  using box = new AttackBox(tier);
  for (const text of [
    'version: 1\nnetwork: {alow: []}\n',
    'version: 1\nnetwork: {allow: ["*"]}\n',
    'version: 1\nfilesystem: {deny: ".env"\n',
    'version: 9\n',
  ]) {
    box.policy(text);
    const result = await box.sh('echo ran');
    expect([text, result.code, result.stdout]).toEqual([text, 125, '']);
  }
  box.policy('version: 1\nnetwork: {allow: []}\n');
  const result = await box.python(`attempt('name', lambda: socket.getaddrinfo('example.com', 443))`);
  expectRefused(result, ['name'], ['ENONAME']);
  expectDenied(box, { host: 'example.com', rule: 'default.deny' });
});
