// One sandbox is loud: slow heads, half bodies, reset streams, floods. Its neighbour in the same process works on. Source: slowloris; CVE-2023-44487.
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { forEachTier, isMachine, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a sandbox that attacks the gateway does not stop another in the same process', async (tier) => {
  await using box = new EgressBox(tier, { llm: { http2: true } });
  await using loud = await box.create();
  await using quiet = await box.create();
  // An emulated processor is as loud with fewer, and takes its time to be asked.
  const share = isMachine(tier) ? 4 : 1;
  const patienceMs = isMachine(tier) ? 40_000 : 8_000;
  const attack = box.probeIn(
    loud,
    `
links = []
def keep(make, count):
    for _ in range(count):
        try: links.append(make())
        except OSError: pass
def slow():
    link = secure(timeout=2); link.sendall(b'POST /v1/messages HTTP/1.1\\r\\nHost: api.llm.test\\r\\n'); return link
def half():
    link = secure(timeout=2); link.sendall(head('POST', '/v1/messages', (OWN, 'Content-Type: application/json', 'Content-Length: 9000000')) + b'{"a":"' + b'x' * 300000); return link
keep(lambda: socket.create_connection((LLM, 443), 2), ${200 / share})
keep(slow, ${60 / share})
keep(half, ${40 / share})
def storm(make):
    link = H2(timeout=3)
    try:
        for at in range(${300 / share}): link.link.sendall(make(link))
        link.read(0)
    except OSError: pass
    return link.ends.get(0, 'closed')
def reset(link):
    stream, link.next = link.next, link.next + 2
    return h2_frame(1, 4, stream, h2_block(h2_fields(lines=(OWN, 'content-type: application/json')))) + h2_frame(3, 0, stream, struct.pack('>I', 8))
report('rapid-reset', storm(reset))
report('pings', storm(lambda link: h2_frame(6, 0, 0, b'12345678') * 50))
report('settings', storm(lambda link: h2_frame(4, 0, 0, struct.pack('>HI', 4, 65535)) * 50))
report('continuation', storm(lambda link: (h2_frame(1, 0, 1, h2_block(h2_fields())) if link.next == 1 else b'') + h2_frame(9, 0, 1, h2_block([('x', 'y' * 1000)]))))
print('loud', flush=True)
time.sleep(4)
`,
  );
  const times: number[] = [];
  for (let round = 0; round < 6; round++) {
    const from = Date.now();
    const result = await box.probeIn(quiet, 'control()');
    times.push(Date.now() - from);
    expect(outcomes(result)['control'], result.stderr).toMatch(/^200/);
    await sleep(600);
  }
  const result = await attack;
  expect(result.stdout, result.stderr).toContain('loud');
  expect(outcomes(result)['rapid-reset']).not.toBe('whole');
  expect(Math.max(...times)).toBeLessThan(patienceMs);
  expect(box.arrived.every((one) => one.headers['x-api-key'] === box.secret)).toBe(true);
  // And after all of it the loud one itself is not locked out for good.
  expect(outcomes(await box.probeIn(loud, 'control()'))['control']).toMatch(/^200/);
});
