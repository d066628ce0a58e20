/* The airlock stage, outside the jail: namespaces, masks, listeners; then bubblewrap. */
#include "airlock.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "fail.h"
#include "join.h"
#include "kernel.h"
#include "mask.h"
#include "net.h"
#include "placeholder.h"
#include "proto.h"

/* PR_SET_PDEATHSIG does not fire for a parent that has died already, and a change of credentials clears it: prctl(2). */
static void tie_to_parent(uint32_t parent) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail_sys("prctl", "PR_SET_PDEATHSIG");
    if (parent != 0 && getppid() != (pid_t)parent) _exit(EXIT_REFUSED);
}

static bool harmless_device(dev_t device) {
    unsigned n = minor(device);
    return major(device) == 1 && (n == 3 || n == 5 || n == 7 || n == 8 || n == 9);
}

/* A directory descriptor would be a way out of the jail (fchdir(2)), a terminal a way into the caller's shell (TIOCSTI). */
static void check_stdio(void) {
    fail_stage("stdio");
    for (int fd = 0; fd < 3; fd++) {
        char name[16];
        struct stat st;
        snprintf(name, sizeof name, "fd %d", fd);
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fstat(fd, &st) < 0) fail_sys("fstat", name);
        if ((flags & O_PATH) != 0) fail_msg("check", name, "a path descriptor may not enter the sandbox");
        if (S_ISDIR(st.st_mode)) fail_msg("check", name, "a directory may not enter the sandbox");
        if (S_ISBLK(st.st_mode)) fail_msg("check", name, "a block device may not enter the sandbox");
        if (!S_ISCHR(st.st_mode) || harmless_device(st.st_rdev)) continue;
        fail_msg("check", name, isatty(fd) ? "a terminal may not enter the sandbox" : "a device may not enter the sandbox");
    }
}

/* One descriptor for each placeholder: the usual soft limit of 1024 is soon too small. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static bool open_network(const struct airlock_spec *spec) {
    fail_stage("network");
    if (!net_loopback_up()) fail_sys("loopback up", NULL);
    if (!spec->network) {
        close(IPC_FD);
        return false;
    }
    if (!net_any_ip(AF_INET)) fail_sys("route", "0.0.0.0/0");
    bool ipv6 = net_any_ip(AF_INET6);
    net_hand_over(spec, ipv6, IPC_FD);
    return ipv6;
}

/* One result byte for each mask, 0 for those that are no placeholder. */
static void send_ready(struct airlock_spec *spec, bool ipv6) {
    struct buf out = {0};
    size_t mark;
    uint8_t *results = arena_alloc(&spec->arena, spec->mask_count + 1);
    if (results == NULL) fail_msg("ready", NULL, "out of memory");
    for (size_t i = 0; i < spec->mask_count; i++) results[i] = spec->masks[i].result;
    bool ok = frame_begin(&out, F_AIRLOCK_READY, 0, &mark) && tlv_u8(&out, R_IPV6, ipv6) &&
              tlv_put(&out, R_PLACEHOLDERS, results, spec->mask_count);
    if (!ok) fail_msg("ready", NULL, "out of memory");
    frame_end(&out, mark);
    if (!write_all(CHANNEL_FD, buf_head(&out), out.len)) _exit(EXIT_REFUSED);
    buf_free(&out);
}

static void place_fd(int fd, int target) {
    if (dup2(fd, target) < 0) fail_sys("dup2", "lock");
    close(fd);
}

/*
 * The lock descriptors outlive execve(2), one after the other behind the channel, and one of /dev/null marks their end: the
 * inside stage finds them by their numbers, because bubblewrap may clear the environment.
 */
static void pass_locks(const struct locks *locks) {
    int first = CHANNEL_FD + 1, end = first + (int)locks->count;
    for (size_t i = 0; i < locks->count; i++) {
        int high = fcntl(locks->fds[i], F_DUPFD_CLOEXEC, end + 1);
        if (high < 0) fail_sys("fcntl", "lock");
        close(locks->fds[i]);
        locks->fds[i] = high;
    }
    for (size_t i = 0; i < locks->count; i++) place_fd(locks->fds[i], first + (int)i);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int high = null < 0 ? -1 : fcntl(null, F_DUPFD_CLOEXEC, end + 1);
    if (high < 0) fail_sys("open", "/dev/null");
    close(null);
    place_fd(high, end);
}

static _Noreturn void run_jail(const struct airlock_spec *spec, const struct locks *locks) {
    static char *const empty[] = {NULL};
    fail_stage("exec");
    pass_locks(locks);
    signal(SIGPIPE, SIG_DFL);
    execve(spec->argv.items[0], spec->argv.items, spec->env.items == NULL ? empty : spec->env.items);
    fail_sys("execve", spec->argv.items[0]);
}

int airlock_main(void) {
    struct airlock_spec spec;
    struct locks locks = {0};
    uint8_t *payload;
    size_t len;
    signal(SIGPIPE, SIG_IGN);
    /* Our own files are private; the command gets the caller's mask back. */
    mode_t callers = umask(077);
    if (fcntl(CHANNEL_FD, F_GETFD) < 0) fail_msg("channel", "fd 4", "not open: this stage is started by the launcher");
    fail_channel(CHANNEL_FD);
    tie_to_parent(0);
    k_close_range(CHANNEL_FD + 1, ~0u, 0);

    fail_stage("spec");
    int got = frame_read(CHANNEL_FD, F_AIRLOCK_SPEC, &payload, &len);
    if (got == 0) return EXIT_REFUSED;
    const char *problem = got < 0 ? "malformed frame" : airlock_parse((struct slice){payload, len}, &spec);
    if (problem != NULL) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "parse", .message = problem});
    tie_to_parent(spec.parent_pid);
    check_stdio();
    pid_t joining = begin_joining(&spec.cgroups);
    raise_file_limit();

    fail_stage("placeholder");
    placeholders_acquire(&spec, &locks);
    fail_stage("namespace");
    const char *step = enter_namespaces(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET);
    if (step != NULL) fail_sys(step, NULL);
    tie_to_parent(spec.parent_pid);
    scratch_prepare(&spec);
    masks_apply(&spec, &locks);
    scratch_assemble(&spec);
    bool ipv6 = open_network(&spec);
    finish_joining(joining);
    send_ready(&spec, ipv6);
    umask(callers);
    run_jail(&spec, &locks);
}
