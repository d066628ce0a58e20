// The attacker's key in every place an origin may look at. Source: Sealroom; EGRESS P09, P14, P27, P28; php.net "Variables from external sources"; RFC 3875 §4.1.18.
import { forEachTier } from '../support/attack.ts';
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
