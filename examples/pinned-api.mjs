// A host that may be reached in one way and under one account only. Run it after `npm run build`: node examples/pinned-api.mjs [TIER]
//
// The "API" is a small server on this machine, so that the example needs no network and no account. `transport` leads the
// sandbox's connections to it; leave that out, and `trust` too, for a real host.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Sandbox } from 'glovebox';

const HOST = 'api.example.test';
const SECRET = 'sk-ant-api03-the-real-key-stays-outside';
const dir = mkdtempSync(path.join(tmpdir(), 'pinned-api-'));
const at = (name) => path.join(dir, name);

execFileSync(
  'openssl',
  [
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-days',
    '1',
    '-keyout',
    at('key.pem'),
  ].concat(['-out', at('cert.pem'), '-subj', `/CN=${HOST}`, '-addext', `subjectAltName=DNS:${HOST}`]),
  { stdio: 'ignore' },
);

const api = createServer(
  { key: readFileSync(at('key.pem')), cert: readFileSync(at('cert.pem')) },
  (request, response) => {
    const known = request.headers['x-api-key'] === SECRET;
    response.end(
      `the API saw ${request.method} ${request.url} ${known ? 'with the real key' : 'with another key'}\n`,
    );
  },
);
await new Promise((resolve) => api.listen(0, '127.0.0.1', resolve));

// `trust` may stand in the organisation's or the user's policy only, so the example has a home of its own.
const home = at('home');
const config = path.join(home, '.config/glovebox');
execFileSync('mkdir', ['-p', at('workspace'), config]);
writeFileSync(
  path.join(config, 'policy.yaml'),
  JSON.stringify({
    version: 1,
    network: {
      trust: [at('cert.pem')],
      allow: [{ host: HOST, preset: 'llm-api', credential: 'api' }],
    },
    credentials: { api: { from: 'env:EXAMPLE_API_KEY', header: 'x-api-key' } },
  }),
);

const box = await Sandbox.create({
  workspace: at('workspace'),
  tier: process.argv[2] ?? 'process',
  hostEnv: { ...process.env, HOME: home, XDG_CONFIG_HOME: path.dirname(config), EXAMPLE_API_KEY: SECRET },
  transport: {
    resolver: { resolve: async () => ['93.184.216.34'] },
    dialler: { dial: async () => connect(api.address().port, '127.0.0.1') },
  },
});

try {
  const show = async (title, command) => {
    const { stdout, stderr } = await box.commands.exec(['bash', '-c', command]);
    console.log(`# ${title}\n$ ${command}\n${(stdout + stderr).trim()}\n`);
  };
  await show(
    'inside there is a placeholder',
    'echo "${EXAMPLE_API_KEY:0:13}… (${#EXAMPLE_API_KEY} characters)"',
  );
  await show(
    'it works where the policy says so',
    `curl -s -H "x-api-key: $EXAMPLE_API_KEY" --json '{}' https://${HOST}/v1/messages`,
  );
  await show(
    'another key does not, whoever wrote it into the workspace',
    `curl -s -H "x-api-key: sk-ant-api03-of-somebody-else" --json '{}' https://${HOST}/v1/messages`,
  );
  await show(
    'what stores data at the API does not, under any key',
    `curl -s -H "x-api-key: $EXAMPLE_API_KEY" -F file=@/etc/hostname https://${HOST}/v1/files`,
  );
} finally {
  await box.kill();
  api.closeAllConnections();
  api.close();
  rmSync(dir, { recursive: true, force: true });
}
