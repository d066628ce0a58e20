#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

#include "airlock.h"
#include "io.h"
#include "kernel.h"

/* user_namespaces(7): setgroups must be denied before an unprivileged process may write gid_map. */
const char *enter_namespaces(int flags) {
    char uid_map[48], gid_map[48];
    snprintf(uid_map, sizeof uid_map, "0 %u 1\n", (unsigned)getuid());
    snprintf(gid_map, sizeof gid_map, "0 %u 1\n", (unsigned)getgid());
    if (unshare(flags) < 0) return "unshare";
    if (!write_file("/proc/self/setgroups", "deny")) return "setgroups";
    if (!write_file("/proc/self/uid_map", uid_map)) return "uid_map";
    if (!write_file("/proc/self/gid_map", gid_map)) return "gid_map";
    if ((flags & CLONE_NEWNS) != 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return "mount private";
    return NULL;
}
