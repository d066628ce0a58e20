/* A stream of records becomes a tree. The host sends it, before there is a sandbox; it is read strictly all the same. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copied.h"
#include "io.h"
#include "proto.h"

enum { INTAKE_BYTES = 64 * 1024, NANO = 1000000000 };

struct intake {
    struct copied *copied;
    uid_t uid;
    gid_t gid;
    const char *failed; /* the step */
    size_t at, len;
    uint8_t data[INTAKE_BYTES];
};

uint64_t tree_path(uint64_t path, const char *name) {
    /* FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/ */
    uint64_t hash = path == TREE_TOP ? 0xcbf29ce484222325u : (path ^ '/') * 0x100000001b3u;
    for (const char *p = name; *p != '\0'; p++) hash = (hash ^ (uint8_t)*p) * 0x100000001b3u;
    return hash;
}

bool tree_name_ok(const char *name, size_t len) {
    if (len == 0 || len > TREE_NAME_MAX || memchr(name, '\0', len) != NULL || memchr(name, '/', len) != NULL) return false;
    return strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static bool failed(struct intake *in, const char *step) {
    if (in->failed == NULL) in->failed = step;
    return false;
}

static bool malformed(struct intake *in) {
    errno = EPROTO;
    return failed(in, "malformed stream");
}

static bool fill(struct intake *in) {
    if (in->at < in->len) return true;
    ssize_t n;
    do n = read(in->copied->port, in->data, sizeof in->data);
    while (n < 0 && errno == EINTR);
    if (n == 0) errno = EPIPE;
    if (n <= 0) return failed(in, "read");
    in->at = 0;
    in->len = (size_t)n;
    return true;
}

static bool take(struct intake *in, void *out, size_t len) {
    for (uint8_t *p = out; len > 0;) {
        if (!fill(in)) return false;
        size_t n = in->len - in->at < len ? in->len - in->at : len;
        memcpy(p, in->data + in->at, n);
        in->at += n;
        p += n;
        len -= n;
    }
    return true;
}

static bool take_text(struct intake *in, char *out, size_t max, size_t len) {
    if (len > max) return malformed(in);
    out[len] = '\0';
    return take(in, out, len);
}

static bool take_record(struct intake *in, struct tree_record *r) {
    uint8_t head[TREE_HEAD];
    if (!take(in, head, sizeof head)) return false;
    r->kind = head[0];
    r->detail = head[1];
    r->mode = get_u16(head + 2);
    r->mtime_ns = get_u64(head + 4);
    size_t len = get_u16(head + 12);
    if (!take_text(in, r->name, TREE_NAME_MAX, len)) return false;
    bool named = r->kind == TREE_DIR || r->kind == TREE_FILE || r->kind == TREE_LINK;
    if (r->mode > 0777 || (named ? !tree_name_ok(r->name, len) : len != 0)) return malformed(in);
    return true;
}

static bool take_seal(struct intake *in, const struct stat *st, uint64_t path) {
    struct copied *c = in->copied;
    if (c->count == c->cap) {
        size_t cap = c->cap == 0 ? 1024 : 2 * c->cap;
        struct tree_seal *more = realloc(c->seals, cap * sizeof *more);
        if (more == NULL) return failed(in, "memory");
        c->seals = more;
        c->cap = cap;
    }
    c->seals[c->count++] = (struct tree_seal){st->st_ino, path};
    return true;
}

static void times_of(const struct tree_record *r, struct timespec times[2]) {
    times[0] = times[1] = (struct timespec){(time_t)(r->mtime_ns / NANO), (long)(r->mtime_ns % NANO)};
}

static bool take_content(struct intake *in, int fd) {
    for (;;) {
        uint8_t head[4];
        if (!take(in, head, sizeof head)) return false;
        size_t left = get_u32(head);
        if (left == 0) return true;
        if (left > TREE_CHUNK_MAX) return malformed(in);
        while (left > 0) {
            if (!fill(in)) return false;
            size_t n = in->len - in->at < left ? in->len - in->at : left;
            if (!write_all(fd, in->data + in->at, n)) return failed(in, "write");
            in->at += n;
            left -= n;
        }
    }
}

static bool take_file(struct intake *in, int dir, const struct tree_record *r, uint64_t path) {
    struct timespec times[2];
    struct stat st;
    times_of(r, times);
    int fd = openat(dir, r->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return failed(in, "create");
    bool ok = take_content(in, fd);
    ok = ok && ((fchown(fd, in->uid, in->gid) == 0 && fchmod(fd, r->mode) == 0 && futimens(fd, times) == 0 && fstat(fd, &st) == 0) ||
                failed(in, "finish"));
    close(fd);
    return ok && take_seal(in, &st, path);
}

static bool take_link(struct intake *in, int dir, const struct tree_record *r, uint64_t path) {
    static char target[TREE_TARGET_MAX + 1];
    uint8_t head[2];
    struct timespec times[2];
    struct stat st;
    times_of(r, times);
    if (!take(in, head, sizeof head) || !take_text(in, target, TREE_TARGET_MAX, get_u16(head))) return false;
    if (symlinkat(target, dir, r->name) < 0 || fchownat(dir, r->name, in->uid, in->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        utimensat(dir, r->name, times, AT_SYMLINK_NOFOLLOW) < 0 || fstatat(dir, r->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return failed(in, "symlink");
    return take_seal(in, &st, path);
}

static bool take_entries(struct intake *in, int dir, uint64_t path, int depth);

static bool take_dir(struct intake *in, int dir, const struct tree_record *r, uint64_t path, int depth) {
    struct timespec times[2];
    times_of(r, times);
    if (depth >= TREE_DEPTH_MAX) return malformed(in);
    if (mkdirat(dir, r->name, 0700) < 0) return failed(in, "mkdir");
    int fd = openat(dir, r->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return failed(in, "open");
    bool ok = take_entries(in, fd, path, depth + 1);
    ok = ok && ((fchown(fd, in->uid, in->gid) == 0 && fchmod(fd, r->mode) == 0 && futimens(fd, times) == 0) || failed(in, "finish"));
    close(fd);
    return ok;
}

/* Up to the end of the directory, or of the stream when it is the top. */
static bool take_entries(struct intake *in, int dir, uint64_t path, int depth) {
    struct tree_record r;
    for (;;) {
        if (!take_record(in, &r)) return false;
        if (r.kind == (depth == 0 ? TREE_END : TREE_UP)) return true;
        uint64_t below = tree_path(path, r.name);
        bool ok = r.kind == TREE_DIR    ? take_dir(in, dir, &r, below, depth)
                  : r.kind == TREE_FILE ? take_file(in, dir, &r, below)
                  : r.kind == TREE_LINK ? take_link(in, dir, &r, below)
                                        : malformed(in);
        if (!ok) return false;
    }
}

static int by_inode(const void *a, const void *b) {
    const struct tree_seal *x = a, *y = b;
    return x->ino < y->ino ? -1 : x->ino > y->ino;
}

const char *copied_take(struct copied *c, uid_t uid, gid_t gid) {
    static struct intake in;
    in = (struct intake){.copied = c, .uid = uid, .gid = gid};
    if (!take_entries(&in, c->root, TREE_TOP, 0)) return in.failed;
    errno = EPROTO;
    /* The host waits for an answer from here on. */
    if (in.at < in.len) return "malformed stream";
    if (c->count > 0) qsort(c->seals, c->count, sizeof *c->seals, by_inode);
    return NULL;
}

bool copied_is_same(const struct copied *c, uint64_t ino, uint64_t path, const struct timespec *changed) {
    const struct tree_seal key = {.ino = ino};
    if (changed->tv_sec > c->sealed.tv_sec) return false;
    if (changed->tv_sec == c->sealed.tv_sec && changed->tv_nsec > c->sealed.tv_nsec) return false;
    const struct tree_seal *found = c->count == 0 ? NULL : bsearch(&key, c->seals, c->count, sizeof key, by_inode);
    return found != NULL && found->path == path;
}
