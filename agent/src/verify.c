#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "confine.h"
#include "fail.h"
#include "proto.h"

enum { STATFS_RDONLY = 1 };

static _Noreturn void lost(const char *path, const char *message, int err) {
    fail_with(&(struct failure){.code = ERR_MASK_LOST, .op = "verify", .err = err, .path = path, .message = message});
}

/* statx(2) says whether the name is a mount of its own, fstatfs(2) whether that mount is read-only. */
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
    if ((st.attributes_mask & K_STATX_ATTR_MOUNT_ROOT) == 0) lost(v->path, "the kernel does not report mounts", 0);
    if ((st.attributes & K_STATX_ATTR_MOUNT_ROOT) == 0) lost(v->path, "nothing is mounted there", 0);
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
