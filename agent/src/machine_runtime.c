/* gVisor in a machine: its runtime is the sandbox there, and the channel is its guest's. See "Machine" in docs/design/agent-protocol.md. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fail.h"
#include "ferry.h"
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

/* It only has to interrupt a wait. */
static void on_child(int signo) { (void)signo; }

static void watch_children(void) {
    struct sigaction act = {.sa_handler = on_child};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (sigaction(SIGCHLD, &act, NULL) < 0 || sigprocmask(SIG_BLOCK, &set, NULL) < 0) fail_sys("sigaction", NULL);
}

static bool has_ended(pid_t runtime, int *status) {
    for (;;) {
        pid_t pid = waitpid(-1, status, WNOHANG);
        if (pid == runtime) return true;
        if (pid <= 0) return false;
    }
}

/* With `theirs` as the channel, which is held nowhere else afterwards. */
static pid_t start_runtime(const struct boot_spec *boot, int theirs) {
    struct exec_spec spec;
    struct spawned runtime;
    struct spawn_error error;
    const char *problem = exec_parse(boot->exec, &spec);
    if (problem != NULL) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "parse", .message = problem});
    /* From where a command takes its channel. */
    if (dup2(theirs, STDOUT_FILENO) < 0) fail_sys("dup2", "channel");
    close(theirs);
    if (!spawn_command(&spec, &boot->rlimits, &runtime, &error)) {
        errno = error.err;
        fail_sys(error.stage, spec.argv.items[0]);
    }
    if (dup2(STDIN_FILENO, STDOUT_FILENO) < 0) fail_sys("dup2", "null");
    return runtime.pid;
}

/*
 * The guest gets a socket. The port is a device, and whatever runs beside the guest's agent could open that descriptor of it again below
 * /proc/1/fd; a socket nobody can.
 */
_Noreturn void runtime_run(const struct boot_spec *boot) {
    static struct ferry ferry;
    int ends[2], status = 0;
    fail_stage("runtime");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) fail_sys("socketpair", NULL);
    watch_children();
    pid_t runtime = start_runtime(boot, ends[1]);
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 || fcntl(CHANNEL_FD, F_SETFL, O_NONBLOCK) < 0) fail_sys("fcntl", NULL);
    ferry_begin(&ferry, CHANNEL_FD, ends[0]);
    while (!has_ended(runtime, &status)) ferry_turn(&ferry);
    ferry_finish(&ferry);
    _exit(exit_code(status));
}
