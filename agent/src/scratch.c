#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "fail.h"
#include "mask.h"

static void make_file(int dir, const char *name, mode_t mode, struct slice content) {
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) fail_sys("create", name);
    if (!write_all(fd, content.ptr, content.len) || fchmod(fd, mode) < 0) fail_sys("write", name);
    close(fd);
}

static void make_dir(int dir, const char *name, mode_t mode) {
    if (mkdirat(dir, name, 0700) < 0 || fchmodat(dir, name, mode, 0) < 0) fail_sys("mkdir", name);
}

static void make_spec_file(int dir, const struct scratch_file *file) {
    const char *slash = strchr(file->name, '/');
    if (slash != NULL) {
        if (strchr(slash + 1, '/') != NULL) fail_msg("create", file->name, "more than one directory deep");
        char parent[256];
        size_t n = (size_t)(slash - file->name);
        memcpy(parent, file->name, n);
        parent[n] = '\0';
        if (mkdirat(dir, parent, 0700) == 0 ? fchmodat(dir, parent, 0755, 0) < 0 : errno != EEXIST)
            fail_sys("mkdir", file->name);
    }
    make_file(dir, file->name, file->mode, file->content);
}

/* Masks show read-only copies of these, so that their owner cannot chmod(2) them. */
static void freeze(int dir, const char *name) {
    int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) fail_sys("open", name);
    if (!bind_over(fd, fd, false, K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NODEV)) fail_sys("mount", name);
    close(fd);
}

void scratch_prepare(const struct airlock_spec *spec) {
    fail_stage("scratch");
    if (mount("glovebox", spec->scratch, "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=0700") < 0)
        fail_sys("mount tmpfs", spec->scratch);
    int dir = open(spec->scratch, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0) fail_sys("open", spec->scratch);
    for (size_t i = 0; i < spec->file_count; i++) make_spec_file(dir, &spec->files[i]);
    make_file(dir, "hidden-file", 0, (struct slice){(const uint8_t *)"", 0});
    make_dir(dir, "hidden-dir", 0);
    make_dir(dir, "empty-dir", 0555);
    freeze(dir, "hidden-file");
    freeze(dir, "hidden-dir");
    freeze(dir, "empty-dir");
    close(dir);
}
