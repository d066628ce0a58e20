// Lets variables of the caller steer loaders and interpreters inside. Source: ld.so(8) LD_PRELOAD; NODE_OPTIONS, BASH_ENV, PYTHONSTARTUP, GIT_SSH_COMMAND.
import { expect } from 'vitest';
import { AttackBox, expectRecorded, forEachTier } from '../support/attack.ts';

const STEERING = {
  LD_LIBRARY_PATH: '/tmp/evil',
  LD_AUDIT: '',
  BASH_ENV: '/tmp/evil',
  ENV: '/tmp/evil',
  PYTHONSTARTUP: '/tmp/evil',
  PYTHONPATH: '/tmp/evil',
  PERL5OPT: '-Mevil',
  RUBYOPT: '-revil',
  GIT_SSH_COMMAND: 'evil',
  GIT_CONFIG_COUNT: '0',
  PROMPT_COMMAND: 'evil',
  'BASH_FUNC_ls%%': '() { echo evil; }',
  NODE_OPTIONS: '--no-deprecation',
};

forEachTier('variables that steer programs do not pass, even when named', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.run(['/usr/bin/env'], { env: STEERING });
  const seen = result.stdout.split('\n').map((line) => line.split('=')[0] ?? '');
  expect(seen, result.stderr).toContain('GLOVEBOX');
  expect(seen.filter((name) => name in STEERING)).toEqual([]);
  expectRecorded(box);
  for (const name of ['LD_LIBRARY_PATH', 'NODE_OPTIONS', 'BASH_ENV', 'GIT_SSH_COMMAND']) {
    const named = await box.run(['/usr/bin/env'], { env: STEERING, flags: ['--env', name] });
    expect([name, named.code, named.stdout]).toEqual([name, 125, '']);
  }
});
