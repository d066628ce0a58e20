// The lent ssh agent is asked for more than logins at named hosts. Source: CVE-2023-38408; draft-miller-ssh-agent; OpenSSH PROTOCOL.agent.
import { execFileSync, spawn } from 'node:child_process';
import { createHash, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect } from 'vitest';
import { forEachTier, needsProgram, outcomes, until } from '../support/attack.ts';
import { EgressBox } from '../support/egress-box.ts';

const text = (data: string | Buffer): Buffer => {
  const bytes = Buffer.from(data);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
};
const blobOf = (key: KeyObject): Buffer =>
  Buffer.concat([text('ssh-ed25519'), text(key.export({ type: 'spki', format: 'der' }).subarray(-32))]);

/** session-bind@openssh.com, signed by a host key. */
function bind(key: KeyObject, blob: Buffer, session: Buffer, forwarding: number): string {
  const signature = Buffer.concat([text('ssh-ed25519'), text(sign(null, session, key))]);
  const body = [
    text('session-bind@openssh.com'),
    text(blob),
    text(session),
    text(signature),
    Buffer.of(forwarding),
  ];
  return Buffer.concat([Buffer.of(27), ...body]).toString('hex');
}

function login(key: Buffer, session: Buffer): string {
  const data = [
    text(session),
    Buffer.of(50),
    text('git'),
    text('ssh-connection'),
    text('publickey'),
    Buffer.of(1),
    text('ssh-ed25519'),
    text(key),
  ];
  return Buffer.concat([Buffer.of(13), text(key), text(Buffer.concat(data)), Buffer.alloc(4)]).toString(
    'hex',
  );
}

forEachTier(
  'the lent agent signs logins at named hosts and does nothing else',
  async (tier) => {
    const host = generateKeyPairSync('ed25519');
    const other = generateKeyPairSync('ed25519');
    const hostBlob = blobOf(host.publicKey);
    const fingerprint = createHash('sha256').update(hostBlob).digest('base64').replace(/=$/, '');
    await using box = new EgressBox(tier, {
      allow: [
        {
          id: 'ssh',
          host: 'ssh.wild.test',
          port: 22,
          protocol: 'ssh',
          hostKeys: [`SHA256:${fingerprint}`],
          keys: ['lent'],
        },
      ],
      env: { SSH_AUTH_SOCK: '' },
    });
    const agent = path.join(box.base, 'agent.sock');
    const child = spawn('ssh-agent', ['-D', '-a', agent], { stdio: 'ignore' });
    try {
      await until(() => existsSync(agent), 'the agent');
      for (const name of ['lent', 'private']) {
        execFileSync('ssh-keygen', [
          '-q',
          '-t',
          'ed25519',
          '-N',
          '',
          '-C',
          name,
          '-f',
          path.join(box.base, name),
        ]);
        execFileSync('ssh-add', ['-q', path.join(box.base, name)], {
          env: { ...process.env, SSH_AUTH_SOCK: agent },
        });
      }
      const blob = (name: string): Buffer =>
        Buffer.from(readFileSync(path.join(box.base, `${name}.pub`), 'utf8').split(' ')[1] ?? '', 'base64');
      const session = Buffer.alloc(32, 7);
      const good = bind(host.privateKey, hostBlob, session, 0);
      const sequences = {
        control: [good, login(blob('lent'), session)],
        unbound: [login(blob('lent'), session)],
        'other-host': [
          bind(other.privateKey, blobOf(other.publicKey), session, 0),
          login(blob('lent'), session),
        ],
        'forged-host': [bind(other.privateKey, hostBlob, session, 0), login(blob('lent'), session)],
        forwarding: [bind(host.privateKey, hostBlob, session, 1), login(blob('lent'), session)],
        'forwarding-then': [bind(host.privateKey, hostBlob, session, 1), good, login(blob('lent'), session)],
        'other-session': [good, login(blob('lent'), Buffer.alloc(32, 8))],
        'other-key': [good, login(blob('private'), session)],
        arbitrary: [
          good,
          Buffer.concat([
            Buffer.of(13),
            text(blob('lent')),
            text('tree 0000 a commit'),
            Buffer.alloc(4),
          ]).toString('hex'),
        ],
        signature: [
          good,
          Buffer.concat([
            Buffer.of(13),
            text(blob('lent')),
            text('SSHSIG\0\0\0\x03git'),
            Buffer.alloc(4),
          ]).toString('hex'),
        ],
        add: ['11' + Buffer.concat([text('ssh-ed25519')]).toString('hex')],
        'remove-all': ['13'],
        lock: ['16' + text('x').toString('hex')],
        'smartcard-add': ['14' + Buffer.concat([text('/tmp/evil.so'), text('')]).toString('hex')],
        extension: ['1b' + text('query').toString('hex')],
        empty: ['0b00', 'ff'],
      };
      const result = await box.probe(
        `
def agent(messages):
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10); link.connect(os.environ['SSH_AUTH_SOCK'])
        for message in messages:
            data = bytes.fromhex(message)
            link.sendall(struct.pack('>I', len(data)) + data)
            size = struct.unpack('>I', link.recv(4, socket.MSG_WAITALL))[0]
            answer = link.recv(size, socket.MSG_WAITALL)
        return answer
for name, messages in json.loads('${JSON.stringify(sequences)}').items():
    try: report(name, agent(messages)[0])
    except OSError as error: report(name, reason(error))
listed = agent(['0b'])
report('listed', struct.unpack('>I', listed[1:5])[0])
report('names', b'private' in listed)
`,
        { hostEnv: box.env({ LLM_API_KEY: box.secret, SSH_AUTH_SOCK: agent }) },
      );
      const seen = outcomes(result);
      expect(seen['control'], result.stdout + result.stderr).toBe('14');
      const refused = Object.keys(sequences).filter((name) => name !== 'control' && name !== 'empty');
      expect(Object.fromEntries(refused.map((name) => [name, seen[name]]))).toEqual(
        Object.fromEntries(refused.map((name) => [name, '5'])),
      );
      expect(seen).toMatchObject({ listed: '1', names: 'False' });
      const signed = box
        .records()
        .filter((record) => record.kind === 'credential.signed')
        .map((record) => record.data['action']);
      expect(signed.filter((action) => action === 'allow')).toHaveLength(1);
      expect(signed.filter((action) => action === 'deny')).toHaveLength(9);
      // The user's agent still has both keys, and is not locked.
      const keys = execFileSync('ssh-add', ['-l'], {
        encoding: 'utf8',
        env: { ...process.env, SSH_AUTH_SOCK: agent },
      });
      expect(keys.trim().split('\n')).toHaveLength(2);
    } finally {
      child.kill('SIGKILL');
    }
  },
  ['ssh-agent', 'ssh-keygen', 'ssh-add'].map(needsProgram),
);
