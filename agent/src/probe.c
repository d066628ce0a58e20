/* What this machine offers, as JSON on stdout. Every try runs in a child, so that nothing stays changed. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "airlock.h"
#include "confine.h"
#include "fail.h"
#include "kernel.h"
#include "mask.h"
#include "net.h"

#ifndef GLOVEBOX_AGENT_VERSION
#define GLOVEBOX_AGENT_VERSION "0.0.0"
#endif

/* Fixed size, so that one write through the pipe is whole. */
struct findings {
    int namespaces_errno, mount_errno, network_errno;
    bool namespaces, mount_api, network, ipv6;
    char step[32];
};

static bool try_mount(void) {
    int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int tree = fd < 0 ? -1 : k_open_tree(fd, "", K_AT_EMPTY_PATH | K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC | K_AT_RECURSIVE);
    struct k_mount_attr attr = {.attr_set = K_ATTR_RDONLY};
    return tree >= 0 && k_mount_setattr(tree, K_AT_RECURSIVE, &attr) == 0;
}

static void explore(struct findings *f) {
    const char *step = enter_namespaces(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET);
    f->namespaces = step == NULL;
    if (step != NULL) {
        f->namespaces_errno = errno;
        snprintf(f->step, sizeof f->step, "%s", step);
        return;
    }
    f->mount_api = try_mount();
    if (!f->mount_api) f->mount_errno = errno;
    f->network = net_loopback_up() && net_any_ip(AF_INET);
    if (!f->network) f->network_errno = errno;
    f->ipv6 = f->network && net_any_ip(AF_INET6);
}

static void in_child(struct findings *out) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return;
    pid_t pid = fork();
    if (pid == 0) {
        struct findings f = {0};
        explore(&f);
        _exit(write_all(ends[1], &f, sizeof f) ? 0 : 1);
    }
    close(ends[1]);
    if (pid < 0 || !read_all(ends[0], out, sizeof *out)) snprintf(out->step, sizeof out->step, "fork");
    close(ends[0]);
    if (pid > 0) waitpid(pid, NULL, 0);
}

/* Ubuntu 23.10 and later: an unconfined program may not use the user namespace that it makes. */
static bool apparmor_restricted(void) {
    char value = '0';
    int fd = open("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", O_RDONLY | O_CLOEXEC);
    bool restricted = fd >= 0 && read(fd, &value, 1) == 1 && value == '1';
    if (fd >= 0) close(fd);
    return restricted;
}

/* seccomp(2): asks for "kill the process", which is as old as the interface that is used. */
static bool seccomp_available(void) {
    uint32_t kill_process = 0x80000000u;
    return syscall(SYS_seccomp, K_SECCOMP_GET_ACTION_AVAIL, 0, &kill_process) == 0;
}

static const char *yes(bool value) { return value ? "true" : "false"; }

int probe_main(void) {
    struct findings f = {0};
    struct utsname system;
    if (uname(&system) < 0) fail_sys("uname", NULL);
    in_child(&f);
    bool denied = f.namespaces_errno == EPERM || f.namespaces_errno == EACCES;
    printf("{\"version\":\"%s\",\"arch\":\"%s\",\"landlockAbi\":%u,", GLOVEBOX_AGENT_VERSION, system.machine,
           landlock_abi());
    printf("\"userNamespaces\":{\"ok\":%s,\"errno\":%d,\"step\":\"%s\",\"apparmorRestricted\":%s},", yes(f.namespaces),
           f.namespaces_errno, f.step, yes(denied && apparmor_restricted()));
    printf("\"mountApi\":{\"ok\":%s,\"errno\":%d},", yes(f.mount_api), f.mount_errno);
    printf("\"network\":{\"ok\":%s,\"errno\":%d,\"ipv6\":%s},", yes(f.network), f.network_errno, yes(f.ipv6));
    printf("\"seccomp\":%s}\n", yes(seccomp_available()));
    return 0;
}
