/* Reading and writing the content of regular files. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/vfs.h>

#include "work.h"

enum { PROC_MAGIC = 0x9fa0 /* statfs(2) */, COPY_CHUNK = 64 * 1024, MOVE_CHUNK = 1024 * 1024, TEMP_TRIES = 16 };

/*
 * "/proc/self" means this very process here, whose memory is a copy of the agent's: nobody outside asked for that, so a link that
 * leads there leads nowhere.
 */
static bool is_own_process(int fd) {
    struct statfs fs;
    char link[64], place[PATH_MAX], own[32];
    if (fstatfs(fd, &fs) < 0 || fs.f_type != PROC_MAGIC) return false;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int len = snprintf(own, sizeof own, "/proc/%d/", (int)getpid());
    ssize_t n = readlink(link, place, sizeof place - 1);
    return n < len || strncmp(place, own, (size_t)len) == 0;
}

/* Opens without waiting for anybody (fifo(7)) and without taking a terminal; anything but a regular file is refused. */
static int open_regular(struct worker *w, const char *path, int flags, mode_t mode, struct stat *st) {
    int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, mode);
    if (fd < 0) {
        /* A pipe without a reader, a socket: open(2), ENXIO. */
        work_fail_with(w, "open", errno == ENXIO ? EOPNOTSUPP : errno);
        return -1;
    }
    int err = fstat(fd, st) < 0 ? errno : 0;
    if (err == 0 && S_ISDIR(st->st_mode)) err = EISDIR;
    if (err == 0 && !S_ISREG(st->st_mode)) err = EOPNOTSUPP;
    if (err == 0 && is_own_process(fd)) err = EACCES;
    /* It is a regular file: from here on nothing waits, but gVisor's splice(2) would refuse to wait for the pipe on its other side. */
    if (err == 0 && fcntl(fd, F_SETFL, flags & O_APPEND) < 0) err = errno;
    if (err == 0) return fd;
    close(fd);
    work_fail_with(w, "open", err);
    return -1;
}

static bool report_open(struct worker *w, int fd) {
    struct stat st;
    if (fstat(fd, &st) < 0) return work_fail(w, "stat");
    return entry_encode(&w->entry, fd, "", &st, (struct slice){0}) || work_fail_with(w, "memory", ENOMEM);
}

static bool seek_to(struct worker *w, int fd, uint64_t offset) {
    if (offset == 0) return true;
    return (offset <= INT64_MAX && lseek(fd, (off_t)offset, SEEK_SET) >= 0) || work_fail_with(w, "seek", EINVAL);
}

/* A file whose content the kernel makes up cannot be sent: sendfile(2), EINVAL. */
static ssize_t copy_chunk(int from, int to, size_t want) {
    static char chunk[COPY_CHUNK];
    ssize_t n = read(from, chunk, want < sizeof chunk ? want : sizeof chunk);
    for (ssize_t at = 0; at < n;) {
        ssize_t put = write(to, chunk + at, (size_t)(n - at));
        if (put < 0 && (errno != EINTR || work_interrupted)) return -1;
        if (put > 0) at += put;
    }
    return n;
}

static bool cannot_move(int err) { return err == EINVAL || err == ENOSYS || err == EOPNOTSUPP; }

void transfer_read(struct worker *w) {
    const struct work_spec *s = w->spec;
    struct stat st;
    bool move = true;
    int fd = open_regular(w, s->path, O_RDONLY, 0, &st);
    if (fd < 0) return;
    if (!report_open(w, fd) || !seek_to(w, fd, s->offset)) return;
    while (w->bytes < s->length && !work_stopped(w)) {
        uint64_t left = s->length - w->bytes;
        size_t want = left < MOVE_CHUNK ? (size_t)left : MOVE_CHUNK;
        ssize_t n = move ? sendfile(w->out, fd, NULL, want) : copy_chunk(fd, w->out, want);
        if (n == 0) break;
        if (n > 0) w->bytes += (uint64_t)n;
        else if (move && cannot_move(errno)) move = false;
        else if (errno != EINTR && !work_fail(w, "read")) return;
    }
}

/* Until the host says that this is all. */
static bool take_content(struct worker *w, int fd) {
    bool move = true;
    for (;;) {
        ssize_t n = move ? splice(w->in, NULL, fd, NULL, MOVE_CHUNK, SPLICE_F_MOVE) : copy_chunk(w->in, fd, COPY_CHUNK);
        if (work_stopped(w)) return false;
        if (n == 0) return true;
        if (n > 0) w->bytes += (uint64_t)n;
        else if (move && cannot_move(errno)) move = false;
        else if (errno != EINTR) return work_fail(w, "write");
    }
}

static int write_flags(uint8_t how) {
    switch (how) {
    case HOW_TRUNCATE: return O_WRONLY | O_CREAT | O_TRUNC;
    case HOW_APPEND: return O_WRONLY | O_CREAT | O_APPEND;
    case HOW_EXCLUSIVE: return O_WRONLY | O_CREAT | O_EXCL;
    default: return O_WRONLY | O_CREAT;
    }
}

static void write_in_place(struct worker *w) {
    const struct work_spec *s = w->spec;
    struct stat st;
    int fd = open_regular(w, s->path, write_flags(s->how), 0666, &st);
    if (fd < 0) return;
    if (s->has_mode && fchmod(fd, s->mode) < 0) {
        work_fail(w, "chmod");
        return;
    }
    if (s->how == HOW_UPDATE && !seek_to(w, fd, s->offset)) return;
    if (take_content(w, fd) && report_open(w, fd) && close(fd) < 0) work_fail(w, "close");
}

static bool temp_name(char *out, size_t size) {
    uint64_t random;
    if (getrandom(&random, sizeof random, 0) != sizeof random) return false;
    snprintf(out, size, ".glovebox-%016llx.tmp", (unsigned long long)random);
    return true;
}

/* A file without a name, so that nothing is left when we are killed; with one where the file system has no such files. */
static int open_temporary(int dir, char *name, size_t size) {
    int fd = openat(dir, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0666);
    name[0] = '\0';
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)) return fd;
    for (int i = 0; fd < 0 && i < TEMP_TRIES && temp_name(name, size); i++) {
        fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd < 0) name[0] = '\0';
    return fd;
}

static bool give_name(int dir, int fd, char *name, size_t size) {
    char self[64];
    snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
    for (int i = 0; i < TEMP_TRIES && temp_name(name, size); i++) {
        if (linkat(AT_FDCWD, self, dir, name, AT_SYMLINK_FOLLOW) == 0) return true;
        if (errno != EEXIST) break;
    }
    int err = errno;
    name[0] = '\0';
    errno = err;
    return false;
}

/* The new file takes the place of a regular file or of a link, never of anything else. */
static bool may_replace(struct worker *w, int dir, const char *base, mode_t *mode) {
    struct stat old;
    *mode = 0;
    if (fstatat(dir, base, &old, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT || work_fail(w, "stat");
    if (S_ISDIR(old.st_mode)) return work_fail_with(w, "open", EISDIR);
    if (!S_ISREG(old.st_mode) && !S_ISLNK(old.st_mode)) return work_fail_with(w, "open", EOPNOTSUPP);
    if (S_ISREG(old.st_mode)) *mode = old.st_mode & 0777;
    /* What a command could not open for writing must not be replaced either: its mode says that it is not meant to change. */
    if (S_ISREG(old.st_mode) && faccessat(dir, base, W_OK, 0) < 0) return work_fail(w, "open");
    return true;
}

static bool put_in_place(struct worker *w, int dir, const char *base, int fd, char *name, size_t size) {
    mode_t old;
    if (!may_replace(w, dir, base, &old)) return false;
    mode_t mode = w->spec->has_mode ? w->spec->mode : old;
    if ((w->spec->has_mode || old != 0) && fchmod(fd, mode) < 0) return work_fail(w, "chmod");
    if (name[0] == '\0' && !give_name(dir, fd, name, size)) return work_fail(w, "link");
    if (renameat(dir, name, dir, base) < 0) return work_fail(w, "rename");
    name[0] = '\0';
    return true;
}

/* All or nothing: readers see the old content or the new. */
static void write_atomically(struct worker *w) {
    char folder[PATH_MAX], name[64] = "";
    mode_t old;
    const char *slash = strrchr(w->spec->path, '/'), *base = slash + 1;
    size_t len = slash == w->spec->path ? 1 : (size_t)(slash - w->spec->path);
    if (len >= sizeof folder || *base == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0) {
        work_fail_with(w, "open", len >= sizeof folder ? ENAMETOOLONG : EISDIR);
        return;
    }
    memcpy(folder, w->spec->path, len);
    folder[len] = '\0';
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0) {
        work_fail(w, "open");
        return;
    }
    if (!may_replace(w, dir, base, &old)) return;
    int fd = open_temporary(dir, name, sizeof name);
    if (fd < 0) {
        work_fail(w, "create");
        return;
    }
    if (take_content(w, fd) && put_in_place(w, dir, base, fd, name, sizeof name)) report_entry(w, dir, base, false);
    if (name[0] != '\0') unlinkat(dir, name, 0);
}

void transfer_write(struct worker *w) {
    if ((w->spec->flags & WF_PARENTS) != 0 && !make_parents(w, w->spec->path)) return;
    if ((w->spec->flags & WF_ATOMIC) != 0) write_atomically(w);
    else write_in_place(w);
}
