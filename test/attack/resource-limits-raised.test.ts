// The command line asks for more than the user's policy allows? Policies only tighten upwards; inside, no limit can be raised. Source: prlimit(2).
import { AttackBox, expectRecorded, expectRefused, forEachTier, isGuest } from '../support/attack.ts';

forEachTier('no resource limit can be raised, nor that of pid 1 touched', async (tier) => {
  using box = new AttackBox(tier);
  const result = await box.python(
    `
import resource
def above(kind):
    soft, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY: raise OSError(errno.EPERM, 'unlimited already')
    try: resource.setrlimit(kind, (hard + 1, hard + 1))
    except ValueError: raise OSError(errno.EPERM, '')
attempt('files', lambda: above(resource.RLIMIT_NOFILE))
attempt('core', lambda: above(resource.RLIMIT_CORE))
attempt('memlock', lambda: above(resource.RLIMIT_MEMLOCK))
attempt('nice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -5))
attempt('realtime', lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)))
def init():
    try: resource.prlimit(1, resource.RLIMIT_NOFILE, (3, 3))
    except PermissionError: raise OSError(errno.EPERM, '')
attempt('init', init)
`,
    { flags: ['--files', '64'] },
  );
  const limits = ['files', 'core', 'memlock', 'init'];
  // gVisor keeps these numbers for whoever asks, and schedules nothing by them.
  if (!isGuest(tier)) limits.push('nice', 'realtime');
  expectRefused(result, limits, ['EPERM', 'EACCES', 'ESRCH']);
  expectRecorded(box);
});
