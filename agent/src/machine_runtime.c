/* gVisor in a machine: its runtime is the sandbox there, and the channel is its guest's. See "Machine" in docs/design/agent-protocol.md. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "fail.h"
#include "loop.h"
#include "machine.h"
#include "proto.h"
#include "spawn.h"

/* linux/capability.h. What each is for, says CAPABILITIES in src/drivers/gvisor/args.ts. */
enum { DAC_OVERRIDE = 1, SETGID = 6, SETUID = 7, SETPCAP = 8, SYS_CHROOT = 18, SYS_ADMIN = 21, SETFCAP = 31 };

void runtime_bounding(void) {
    const uint64_t kept = 1ull << DAC_OVERRIDE | 1ull << SETGID | 1ull << SETUID | 1ull << SETPCAP | 1ull << SYS_CHROOT |
                          1ull << SYS_ADMIN | 1ull << SETFCAP;
    for (int cap = 0; cap < 64; cap++) {
        if ((kept >> cap & 1) != 0) continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0) continue;
        if (errno == EINVAL) return;
        fail_sys("prctl", "PR_CAPBSET_DROP");
    }
}

_Noreturn void runtime_run(const struct boot_spec *boot) {
    struct exec_spec spec;
    struct spawned runtime;
    struct spawn_error error;
    int status = 0;
    fail_stage("runtime");
    const char *problem = exec_parse(boot->exec, &spec);
    if (problem != NULL) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "parse", .message = problem});
    /* From where a command takes its channel. */
    if (dup2(CHANNEL_FD, STDOUT_FILENO) < 0) fail_sys("dup2", "channel");
    if (!spawn_command(&spec, &boot->rlimits, &runtime, &error)) {
        errno = error.err;
        fail_sys(error.stage, spec.argv.items[0]);
    }
    for (;;) {
        pid_t pid = wait4(-1, &status, 0, NULL);
        if (pid == runtime.pid) _exit(exit_code(status));
        if (pid < 0 && errno != EINTR) fail_sys("wait4", NULL);
    }
}
