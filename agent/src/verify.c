#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "confine.h"
#include "fail.h"
#include "proto.h"

enum { STATFS_RDONLY = 1 };

static _Noreturn void lost(const char *path, const char *message, int err) {
    fail_with(&(struct failure){.code = ERR_MASK_LOST, .op = "verify", .err = err, .path = path, .message = message});
}

/*
 * Linux says so itself (statx(2)). gVisor does not, and gives every mount a device of its own: there a name is one when its directory is
 * on another device. A kernel with neither fails here, on the safe side.
 */
static bool is_mount(const char *path, const struct k_statx *st) {
    if ((st->attributes_mask & K_STATX_ATTR_MOUNT_ROOT) != 0) return (st->attributes & K_STATX_ATTR_MOUNT_ROOT) != 0;
    struct k_statx above;
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    if (slash == NULL || len >= sizeof(parent) - 1) return false;
    memcpy(parent, path, len);
    memcpy(parent + len, "/", 2);
    int fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return false;
    int got = k_statx(fd, "", K_AT_EMPTY_PATH, &above);
    close(fd);
    return got == 0 && (above.dev_major != st->dev_major || above.dev_minor != st->dev_minor);
}

/* The name has to be a mount of its own; fstatfs(2) says whether that mount is read-only. */
static void verify_one(const struct verify *v) {
    struct k_statx st;
    struct statfs fs;
    int fd = open(v->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) lost(v->path, NULL, errno);
    if (k_statx(fd, "", K_AT_EMPTY_PATH, &st) < 0 || fstatfs(fd, &fs) < 0) lost(v->path, NULL, errno);
    close(fd);
    if (v->kind == VERIFY_IDENTITY) {
        bool same = st.ino == v->ino && st.dev_major == v->major && st.dev_minor == v->minor;
        if (!same) lost(v->path, "another directory was put in its place", 0);
        return;
    }
    if (!is_mount(v->path, &st)) lost(v->path, "nothing is mounted there", 0);
    if (v->kind == VERIFY_PINNED) return;
    if ((fs.f_flags & STATFS_RDONLY) == 0) lost(v->path, "the mount is writable", 0);
    if (v->kind == VERIFY_HIDDEN && (st.mode & 0777) != 0) lost(v->path, "it is readable", 0);
    if (v->kind == VERIFY_PLACEHOLDER && !S_ISDIR(st.mode) && st.mode != (S_IFREG | 01400))
        lost(v->path, "it is no placeholder", 0);
}

void verify_masks(const struct boot_spec *spec) {
    fail_stage("verify");
    for (size_t i = 0; i < spec->verify_count; i++) verify_one(&spec->verifies[i]);
}
