/* Directories of the view that are put together in the scratch: for bubblewrap each is one bind, whatever it holds. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "mask.h"
#include "proto.h"

/* Larger files are mounted instead of copied. */
enum { COPY_LIMIT = 128 * 1024 };

/* Never through a link or a mount: names may lead through directories of the host that were mounted here before. */
static int open_inside(int dir, const char *path, uint64_t flags) {
    uint64_t how = K_RESOLVE_BENEATH | K_RESOLVE_NO_SYMLINKS | K_RESOLVE_NO_MAGICLINKS | K_RESOLVE_NO_XDEV;
    return k_openat2(dir, path, flags | O_CLOEXEC, how);
}

/* 0, or -1 with errno; one that is there already stays as it is. */
static int make_directory(int parent, const char *name, mode_t mode) {
    if (mkdirat(parent, name, 0700) < 0) return errno == EEXIST ? 0 : -1;
    return fchmodat(parent, name, mode, 0);
}

/* The directory that holds the last component, made where it is missing. -1 with errno. */
static int open_holder(int scratch, const char *path, const char **name) {
    int dir = open_inside(scratch, ".", O_PATH | O_DIRECTORY);
    *name = path;
    for (const char *slash = strchr(path, '/'); dir >= 0 && slash != NULL; slash = strchr(slash + 1, '/')) {
        char part[256];
        size_t n = (size_t)(slash - *name);
        memcpy(part, *name, n);
        part[n] = '\0';
        int next = make_directory(dir, part, 0755) < 0 ? -1 : open_inside(dir, part, O_PATH | O_DIRECTORY);
        int saved = errno;
        close(dir);
        errno = saved;
        dir = next;
        *name = slash + 1;
    }
    return dir;
}

static int make_empty_file(int dir, const char *name) {
    return openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* False with errno. */
static bool copy_file(int source, off_t size, int dir, const char *name) {
    static uint8_t data[COPY_LIMIT];
    if (!read_all(source, data, (size_t)size)) return false;
    int fd = make_empty_file(dir, name);
    bool ok = fd >= 0 && write_all(fd, data, (size_t)size) && fchmod(fd, 0444) == 0;
    if (fd >= 0) close(fd);
    return ok;
}

static bool mount_object(int source, mode_t mode, int dir, const char *name) {
    if (S_ISDIR(mode)) {
        if (make_directory(dir, name, 0755) < 0) return false;
    } else {
        int fd = make_empty_file(dir, name);
        if (fd < 0) return false;
        close(fd);
    }
    int target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    bool ok = target >= 0 && bind_over(source, target, S_ISDIR(mode), K_ATTR_RDONLY | K_ATTR_NOSUID | K_ATTR_NODEV);
    if (target >= 0) close(target);
    return ok;
}

/*
 * A small file is copied: it costs less than a mount and is as good, because most programs replace files by rename(2), which
 * a mount does not follow either. What a mask covers is a mount itself and stays one.
 */
static void take(const struct assembled *a, int dir, const char *name) {
    struct stat st;
    int fd = open(a->source, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    bool readable = fd >= 0;
    if (!readable) fd = open(a->source, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0) fail_sys("open", a->source);
    bool copy = readable && S_ISREG(st.st_mode) && st.st_size <= COPY_LIMIT && !is_mount(fd);
    bool ok = copy ? copy_file(fd, st.st_size, dir, name) : mount_object(fd, st.st_mode, dir, name);
    if (!ok) fail_sys(copy ? "copy" : "mount", a->name);
    close(fd);
}

/* A place for a later mount of bubblewrap's, which cannot make one in a read-only directory. */
static void make_point(const struct assembled *a, int dir, const char *name) {
    struct stat st;
    if (stat(a->source, &st) < 0) fail_sys("stat", a->source);
    if (S_ISDIR(st.st_mode)) {
        if (make_directory(dir, name, 0755) < 0) fail_sys("mkdir", a->name);
        return;
    }
    int fd = make_empty_file(dir, name);
    if (fd < 0 && errno != EEXIST) fail_sys("create", a->name);
    if (fd >= 0) close(fd);
}

static void assemble_one(int scratch, const struct assembled *a) {
    const char *name;
    int dir = open_holder(scratch, a->name, &name);
    /* Below a directory of the host nothing is made: bubblewrap finds the place there, or refuses. */
    if (dir < 0 && a->kind == ASSEMBLE_POINT && (errno == EXDEV || errno == ELOOP || errno == ENOTDIR)) return;
    if (dir < 0) fail_sys("mkdir", a->name);
    if (a->kind == ASSEMBLE_TAKE) take(a, dir, name);
    if (a->kind == ASSEMBLE_POINT) make_point(a, dir, name);
    if (a->kind == ASSEMBLE_DIR && make_directory(dir, name, 0755) < 0) fail_sys("mkdir", a->name);
    close(dir);
}

void scratch_assemble(const struct airlock_spec *spec) {
    fail_stage("assemble");
    int scratch = open(spec->scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (scratch < 0) fail_sys("open", spec->scratch);
    for (size_t i = 0; i < spec->assembled_count; i++) assemble_one(scratch, &spec->assembled[i]);
    close(scratch);
}
