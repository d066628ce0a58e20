/* The sandbox's first process in a machine: its namespaces, its root, its ids; then the same program as in every jail. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "airlock.h"
#include "fail.h"
#include "machine.h"
#include "proto.h"

/* What fs.nr_open allows by default; a policy's limits lower it. */
enum { FILES_MAX = 1024 * 1024 };

/* What a runtime says goes to the console: nobody of its sandbox writes there. */
static void use_null(int null, bool runtime) {
    for (int fd = 0; fd < (runtime ? 2 : 3); fd++)
        if (dup2(null, fd) < 0) fail_sys("dup2", "null");
    close(null);
    close(IPC_FD);
    if (fcntl(CHANNEL_FD, F_SETFD, 0) < 0) fail_sys("fcntl", "channel");
}

static void enter_network(int network) {
    fail_stage("network");
    if (setns(network, CLONE_NEWNET) < 0) fail_sys("setns", "network");
    close(network);
}

/* As `--disable-userns` of bubblewrap's: user_namespaces(7). The file is that of whoever opens it. */
static void forbid_namespaces(int limits) {
    int fd = openat(limits, "max_user_namespaces", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || !write_all(fd, "0", 1)) fail_sys("write", "max_user_namespaces");
    close(fd);
}

/*
 * The sandbox's namespaces but this one belong to the machine's own user namespace, so that no capability reaches them that
 * somebody could come by inside.
 */
static void become_user(const struct machine_spec *spec, int limits) {
    fail_stage("identity");
    /* The kernel's defaults are made for a machine of this size that many share. What the sandbox may have, its limits say. */
    const struct rlimit files = {FILES_MAX, FILES_MAX}, processes = {RLIM_INFINITY, RLIM_INFINITY};
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_NPROC, &processes) < 0) fail_sys("setrlimit", NULL);
    if (setgroups(0, NULL) < 0) fail_sys("setgroups", NULL);
    if (setresgid(spec->gid, spec->gid, spec->gid) < 0) fail_sys("setresgid", NULL);
    if (setresuid(spec->uid, spec->uid, spec->uid) < 0) fail_sys("setresuid", NULL);
    /* Else /proc/self belongs to the machine's root, and the id maps cannot be written: proc(5). */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) < 0) fail_sys("prctl", "PR_SET_DUMPABLE");
    bool runtime = (spec->flags & MACHINE_RUNTIME) != 0;
    /* A runtime insists on being user 0, of a namespace that knows no other. */
    const char *step = runtime ? enter_user_namespace(0, 0) : enter_user_namespace(spec->uid, spec->gid);
    if (step != NULL) fail_sys(step, NULL);
    if ((spec->flags & (MACHINE_NESTING | MACHINE_RUNTIME)) == 0) forbid_namespaces(limits);
    if (runtime) runtime_bounding();
    for (int cap = 0; cap < 64 && !runtime; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno == EINVAL) break;
    close(limits);
}

_Noreturn void machine_child(const struct machine_spec *spec, int network) {
    static char *const argv[] = {"glovebox-agent", "init", NULL}, *const env[] = {NULL};
    fail_stage("sandbox");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail_sys("prctl", "PR_SET_PDEATHSIG");
    /* A control group of its own is its root: cgroup_namespaces(7). */
    if (unshare(CLONE_NEWCGROUP) < 0) fail_sys("unshare", "cgroup");
    /* Nobody inside may lower it again: proc(5). */
    if (!write_file("/proc/self/oom_score_adj", "0")) fail_sys("write", "oom_score_adj");
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail_sys("mount private", NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) fail_sys("open", "/dev/null");
    machine_root(spec);
    /* As long as it can be written to: below the sandbox's own /proc it cannot. */
    int limits = open("/proc/sys/user", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (limits < 0) fail_sys("open", "/proc/sys/user");
    enter_network(network);
    machine_enter_root();
    use_null(null, (spec->flags & MACHINE_RUNTIME) != 0);
    become_user(spec, limits);
    fail_stage("exec");
    execve("/.glovebox/agent", argv, env);
    fail_sys("execve", "/.glovebox/agent");
}
