// The origin answers with a redirect to the metadata service, to loopback, to another host. Source: CVE-2024-28849, CVE-2023-45143.
import { expect } from 'vitest';
import { expectDenied, forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox, EVIL, OTHER } from '../support/egress-box.ts';

forEachTier(
  'the gateway follows no redirect, and the credential does not follow the client',
  async (tier) => {
    await using box = new EgressBox(tier, {
      script: (request, response) => {
        const to = /[?&]to=([^&]*)/.exec(request.url)?.[1];
        if (to === undefined) return void response.end('the origin');
        response.writeHead(302, { Location: decodeURIComponent(to) }).end();
      },
    });
    const result = await box.probe(`
import urllib.parse, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusting((), True)))
def follow(name, to):
    target = f'https://{LLM}/v1/models?to=' + urllib.parse.quote(to, safe='')
    request = urllib.request.Request(target, headers={'x-api-key': PLACEHOLDER})
    try: report(name, f'{opener.open(request, timeout=5).status}')
    except urllib.error.HTTPError as error: report(name, verdict(b'HTTP/1.1 %d x\\r\\n' % error.code + str(error.headers).replace('\\n', '\\r\\n').encode()))
    except OSError as error: report(name, 'refused ' + type(error).__name__)
follow('metadata', 'http://169.254.169.254/latest/meta-data/')
follow('loopback', 'http://127.0.0.1:22/')
follow('evil', 'https://${EVIL}/')
follow('other', 'https://${OTHER}/x')
control()
`);
    const seen = outcomes(result);
    for (const name of ['metadata', 'loopback', 'evil', 'other'])
      expect([name, seen[name]]).not.toEqual([name, expect.stringMatching(/^200/)]);
    expect(seen['control']).toMatch(/^200 /);
    expect(box.dialled.filter((address) => address !== '93.184.216.34')).toHaveLength(
      box.dialled.filter((address) => address === '93.184.216.35').length,
    );
    expect(box.arrived.filter((one) => one.headers.host !== 'api.llm.test')).toEqual([]);
    expectDenied(box, { host: '169.254.169.254' });
    expectDenied(box, { host: EVIL, rule: 'default.deny' });
    // The client took its placeholder along: it is of no use there, and an alarm.
    expect(box.refusals()).toContainEqual(
      expect.objectContaining({ host: OTHER, rule: 'structural.credential.misplaced', alarm: true }),
    );
  },
);
