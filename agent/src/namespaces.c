#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

#include "airlock.h"
#include "io.h"
#include "kernel.h"

/* user_namespaces(7): setgroups must be denied before an unprivileged process may write gid_map. */
static const char *enter(int flags, uint32_t uid, uint32_t gid) {
    char uid_map[48], gid_map[48];
    snprintf(uid_map, sizeof uid_map, "%u %u 1\n", (unsigned)uid, (unsigned)getuid());
    snprintf(gid_map, sizeof gid_map, "%u %u 1\n", (unsigned)gid, (unsigned)getgid());
    if (unshare(flags) < 0) return "unshare";
    /* gVisor has no such file, and no setgroups(2) in a user namespace. */
    if (!write_file("/proc/self/setgroups", "deny") && errno != ENOENT) return "setgroups";
    if (!write_file("/proc/self/uid_map", uid_map)) return "uid_map";
    if (!write_file("/proc/self/gid_map", gid_map)) return "gid_map";
    return NULL;
}

const char *enter_user_namespace(uint32_t uid, uint32_t gid) { return enter(CLONE_NEWUSER, uid, gid); }

const char *enter_user_network(uint32_t uid, uint32_t gid) { return enter(CLONE_NEWUSER | CLONE_NEWNET, uid, gid); }

const char *enter_namespaces(int flags) {
    const char *step = enter(flags, 0, 0);
    if (step != NULL) return step;
    if ((flags & CLONE_NEWNS) != 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return "mount private";
    return NULL;
}
