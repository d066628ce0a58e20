// Unsets the proxy variables, or points them at a service of the host. Source: filters that live in HTTP_PROXY only (srt macOS reports).
import { AttackBox, CanaryService, expectDenied, forEachTier } from '../support/attack.ts';
import { expect } from 'vitest';

forEachTier('without the proxy variables there is no way out either', async (tier) => {
  using box = new AttackBox(tier);
  await using service = await CanaryService.on({ host: '127.0.0.1', port: 0 });
  const result = await box.python(`
for name in list(os.environ):
    if 'proxy' in name.lower(): del os.environ[name]
import urllib.request
def get(url):
    with urllib.request.urlopen(url, timeout=5) as reply: return reply.read()
attempt('bare', lambda: get('http://unset.example.com/'))
os.environ['http_proxy'] = 'http://127.0.0.1:${service.port}'
attempt('elsewhere', lambda: get('http://elsewhere.example.com/'))
`);
  expect(result.stdout).not.toContain('=OK');
  expect(result.stdout, result.stderr).toContain('elsewhere=E');
  expect(service.connections).toBe(0);
  expectDenied(box, { host: 'unset.example.com', entry: 'dns' });
});
