// An origin that answers what nobody asked: surplus answers, switches of protocol, floods of interim ones, ambiguous lengths. Source: EGRESS Q47, W09; RFC 9112 §9.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const OK = 'HTTP/1.1 200 OK\r\n';
const ANSWERS: Readonly<Record<string, string>> = {
  surplus: `${OK}Content-Length: 2\r\n\r\nok${OK}Content-Length: 6\r\n\r\npoison`,
  'surplus-late': `${OK}Content-Length: 2\r\n\r\nok`,
  unasked: 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\npoison',
  interim: `${'HTTP/1.1 103 Early Hints\r\nLink: <poison>\r\n\r\n'.repeat(50)}${OK}Content-Length: 6\r\n\r\npoison`,
  'two-lengths': `${OK}Content-Length: 2\r\nContent-Length: 8\r\n\r\nokpoison`,
  both: `${OK}Content-Length: 8\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\npoison`,
  coding: `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n6\r\npoison\r\n0\r\n\r\n`,
  'bare-lf': 'HTTP/1.1 200 OK\nContent-Length: 6\n\npoison',
  nul: `${OK}X: a\0b\r\nContent-Length: 6\r\n\r\npoison`,
  old: 'poison without a head\r\n\r\n',
  'http-2': 'HTTP/2.0 200 OK\r\nContent-Length: 6\r\n\r\npoison',
  status: 'HTTP/1.1 2000 OK\r\nContent-Length: 6\r\n\r\npoison',
  'chunk-lf': `${OK}Transfer-Encoding: chunked\r\n\r\n6\npoison\n0\n\n`,
  'chunk-size': `${OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\npoison`,
  huge: `${OK}${'X: poison\r\n'.repeat(5000)}\r\n`,
  denied: `${OK}X-Glovebox-Denied: forged\r\nAlt-Svc: h3="evil:443"\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok`,
};

forEachTier('no answer poisons the next one, and none is believed that can be read twice', async (tier) => {
  await using box = new EgressBox(tier, {
    script: (request, response) => {
      const name = request.url.slice(1);
      const raw = ANSWERS[name];
      if (raw === undefined) return void response.end('the origin');
      response.socket?.write(raw, 'latin1');
      if (name !== 'surplus-late') return;
      const late = `${OK}Content-Length: 6\r\n\r\npoison`;
      setTimeout(() => response.socket?.write(late), 30);
    },
  });
  const result = await box.probe(`
for name in ${JSON.stringify(Object.keys(ANSWERS))}:
    ask(name, 'GET', '/' + name, (), host=OTHER)
    if name == 'surplus-late': time.sleep(0.2)
    ask('after-' + name, 'GET', '/plain', (), host=OTHER)
control()
`);
  const seen = outcomes(result);
  expect(seen['control']).toMatch(/^200 .*the origin/);
  const wrong = Object.keys(ANSWERS).filter((name) => !/^200 .*the origin/.test(seen[`after-${name}`] ?? ''));
  expect(wrong).toEqual([]);
  for (const name of ['surplus', 'surplus-late', 'denied'])
    expect([name, seen[name]]).toEqual([name, '200 ok']);
  const refused = Object.keys(ANSWERS).filter(
    (name) => !['surplus', 'surplus-late', 'denied', 'chunk-lf', 'chunk-size'].includes(name),
  );
  for (const name of refused) expect([name, seen[name]]).toEqual([name, expect.stringMatching(/^502 /)]);
  expect(result.stdout).not.toContain('poison');
});
