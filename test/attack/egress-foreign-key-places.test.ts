// The attacker's key in every place an origin may look at. Source: Sealroom; EGRESS P09, P14, P27, P28; php.net "Variables from external sources"; RFC 3875 §4.1.18.
import { expect } from 'vitest';
import { forEachTier, outcomes } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const HEADERS = [
  'Authorization: Bearer FOREIGN',
  'Cookie: sessionKey=FOREIGN',
  'X_Api_Key: FOREIGN',
  'X-API-KEY: FOREIGN',
  'api-key: FOREIGN',
  'x-goog-api-key: FOREIGN',
  'X-Auth-Token: FOREIGN',
  'x%2dapi%2dkey: FOREIGN',
  'Authorization: Basic Rk9SRUlHTjpGT1JFSUdO',
  'Authorization: FOREIGN',
  'Authentication: Bearer FOREIGN',
  'X-RapidAPI-Key: FOREIGN',
  'X-JWT-Assertion: FOREIGN',
  'Cookie: a=b; token=FOREIGN',
  'AuthToken: FOREIGN',
  'X-AccessToken: FOREIGN',
  'X-App-Key: FOREIGN',
  'x.api.key: FOREIGN',
  'Sec-WebSocket-Protocol: bearer, FOREIGN',
  'Sec-WebSocket-Protocol: openai-insecure-api-key.FOREIGN',
];
const QUERIES = [
  'api_key',
  'key',
  'access_token',
  'API_KEY',
  'api%5fkey',
  'api_key[]',
  'X-Amz-Credential',
  'sig',
  'subscription-key',
  'x-api-key',
  'Authorization',
  'bearer_token',
  'feed_token',
  '$$app_token',
  'hapikey',
  'api_secret',
  'api.key',
  'access%20token',
  '+api_key',
  '%20api_key',
  'api[key',
  '[api_key]',
  'api_key%00x',
  'api%255fkey',
  '$httpHeaders',
];

forEachTier('a foreign key beside the placeholder is refused wherever it stands', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
for at, line in enumerate(${JSON.stringify(HEADERS)}):
    ask(f'header{at}', lines=(OWN, line.replace('FOREIGN', FOREIGN)), body='{}')
    ask(f'alone{at}', lines=(line.replace('FOREIGN', FOREIGN),), body='{}')
for at, name in enumerate(${JSON.stringify(QUERIES)}):
    ask(f'query{at}', target=f'/v1/messages?{name}={FOREIGN}', body='{}')
control()
`);
  const names = [
    ...HEADERS.flatMap((_, at) => [`header${at}`, `alone${at}`]),
    ...QUERIES.map((_, at) => `query${at}`),
  ];
  box.expectHeld(result, Object.fromEntries(names.map((name) => [name, '403 structural.pin.foreign'])));
});

const FIELDS = ['private_token', 'a=1&token', 'a=1;access_token', 'api%5fkey', 'api_key[]', 'client_secret'];
const PARTS = [
  'name="private_token"',
  'name=token',
  'filename="x\\"; name="api_key"',
  'x=y;\r\n name="access_token"',
  "name*=utf-8''token",
  'name*0="to"; name*1="ken"',
];

// Source: gitlab.com "REST API authentication" (private_token in a form); RFC 7578; RFC 2231.
forEachTier('a foreign key in the field of a form is refused, however long the form is', async (tier) => {
  await using box = new EgressBox(tier, { llm: { preset: undefined, paths: ['/**'] } });
  const result = await box.probe(`
FORM = 'Content-Type: application/x-www-form-urlencoded'
MULTI = 'Content-Type: multipart/form-data; boundary=b'
def part(disposition, value=FOREIGN):
    return f'--b\\r\\nContent-Disposition: form-data; {disposition}\\r\\n\\r\\n{value}\\r\\n--b--\\r\\n'
for at, name in enumerate(${JSON.stringify(FIELDS)}):
    ask(f'field{at}', lines=(OWN, FORM), body=f'{name}={FOREIGN}')
for at, disposition in enumerate(${JSON.stringify(PARTS)}):
    ask(f'part{at}', lines=(OWN, MULTI), body=part(disposition))
ask('packed', lines=(OWN, FORM, 'Content-Encoding: gzip'), body=gzip.compress(b'token=x'))
ask('charset', lines=(OWN, FORM + '; charset=utf-16'), body='token=x'.encode('utf-16'))
ask('folded', lines=(OWN, 'Content-Type: text/plain', 'Content_Type: application/x-www-form-urlencoded'), body='token=x')
ask('long', lines=(OWN, FORM), body='a=' + 'x' * 3000000 + '&token=' + FOREIGN)
ask('long-part', lines=(OWN, MULTI), body=part('name="file"', 'x' * 3000000) + part('name="token"'))
control()
`);
  const names = [
    ...FIELDS.map((_, at) => `field${at}`),
    ...PARTS.map((_, at) => `part${at}`),
    ...['packed', 'charset', 'folded', 'long', 'long-part'],
  ];
  box.expectHeld(result, Object.fromEntries(names.map((name) => [name, '403 structural.pin.foreign'])));
});

forEachTier('an honest form passes, short and long, and the real key is in the head alone', async (tier) => {
  await using box = new EgressBox(tier, { llm: { preset: undefined, paths: ['/**'] } });
  const result = await box.probe(`
FORM = 'Content-Type: application/x-www-form-urlencoded'
MULTI = 'Content-Type: multipart/form-data; boundary=b'
def part(value):
    return f'--b\\r\\nContent-Disposition: form-data; name="file"; filename="token"\\r\\n\\r\\n{value}\\r\\n--b--\\r\\n'
ask('short', lines=(OWN, FORM), body='a=1&page_token=2&token=')
ask('long', lines=(OWN, FORM), body='a=' + 'x' * 3000000)
ask('part', lines=(OWN, MULTI), body=part('token=1'))
ask('long-part', lines=(OWN, MULTI), body=part('x' * 3000000))
`);
  const seen = outcomes(result);
  for (const name of ['short', 'long', 'part', 'long-part'])
    expect([name, seen[name]], result.stderr).toEqual([name, expect.stringMatching(/^200 .*the origin/)]);
  expect(box.arrived.map(({ headers }) => headers['x-api-key'])).toEqual(box.arrived.map(() => box.secret));
  expect(box.arrived.map(({ body }) => body.length > 3_000_000)).toEqual([false, true, false, true]);
});
