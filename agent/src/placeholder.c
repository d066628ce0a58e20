#include "placeholder.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

#include "fail.h"
#include "proto.h"
#include "resolve.h"

/* A removal and a creation may alternate; more often than this is not chance. */
enum { MAX_TRIES = 1000 };

/* What became of one name. Negative values of `acquire_name` are -errno. */
enum outcome { GOT_CREATED = PH_CREATED, GOT_JOINED = PH_JOINED, GOT_REAL = PH_REAL };

mode_t marker_kind(const struct stat *st) {
    mode_t bits = st->st_mode & 07777 & ~(mode_t)S_ISGID;
    if (S_ISREG(st->st_mode)) return bits == MARKER_DOT && st->st_size <= 2 ? MARKER_DOT : 0;
    return S_ISDIR(st->st_mode) && (bits == MARKER_LEAF || bits == MARKER_PARENT) ? bits : 0;
}

static bool same_object(int parent, const char *name, const struct stat *mine) {
    struct stat now;
    return fstatat(parent, name, &now, AT_SYMLINK_NOFOLLOW) == 0 && now.st_ino == mine->st_ino &&
           now.st_dev == mine->st_dev && marker_kind(&now) != 0;
}

static void keep_lock(struct airlock_spec *spec, struct locks *locks, int fd) {
    locks->fds = arena_grow(&spec->arena, locks->fds, locks->count, &locks->cap, sizeof *locks->fds);
    if (locks->fds == NULL) fail_msg("placeholder", NULL, "out of memory");
    locks->fds[locks->count++] = fd;
}

/* Joins an existing directory when it is a marker: its kind, 0 when it is something real, -EAGAIN when it vanished. */
static int join_marker(int parent, const char *name, int *out) {
    struct stat st;
    if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? -EAGAIN : -errno;
    if (marker_kind(&st) == 0) return 0;
    int fd = openat(parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) return -EUSERS;
    if (fd < 0) return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? -EAGAIN : -errno;
    if (flock(fd, LOCK_SH) < 0 || fstat(fd, &st) < 0) {
        int err = errno;
        close(fd);
        return -err;
    }
    if (!same_object(parent, name, &st)) {
        close(fd);
        return -EAGAIN;
    }
    *out = fd;
    return (int)marker_kind(&st);
}

/* 0, or -1 with errno. */
static int make_marker(int parent, const char *name, mode_t want) {
    if (want != MARKER_DOT) return mkdirat(parent, name, want);
    int fd = openat(parent, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, want);
    if (fd < 0) return -1;
    bool written = write(fd, ".\n", 2) == 2;
    int err = errno;
    close(fd);
    if (written) return 0;
    unlinkat(parent, name, 0);
    errno = err;
    return -1;
}

/*
 * Makes or joins the marker `name`. mkdir(2) sets the sticky bit and the mode in one step (umask is 0 here), so a crash
 * leaves either nothing or a marker under its own name, which the next sweep finds.
 */
static int acquire_name(int parent, const char *name, mode_t want, int *fd, mode_t *kind) {
    for (int i = 0; i < MAX_TRIES; i++) {
        bool made = false;
        int joined = join_marker(parent, name, fd);
        if (joined == -EAGAIN) {
            made = make_marker(parent, name, want) == 0;
            if (!made && errno != EEXIST) return -errno;
            joined = join_marker(parent, name, fd);
        }
        if (joined == -EAGAIN) continue;
        if (joined < 0) return joined;
        *kind = (mode_t)joined;
        return joined == 0 ? GOT_REAL : made ? GOT_CREATED : GOT_JOINED;
    }
    return -EBUSY;
}

static void add_anchor(struct airlock_spec *spec, struct locks *locks, struct anchor anchor) {
    locks->anchors =
        arena_grow(&spec->arena, locks->anchors, locks->anchor_count, &locks->anchor_cap, sizeof *locks->anchors);
    if (locks->anchors == NULL) fail_msg("placeholder", NULL, "out of memory");
    locks->anchors[locks->anchor_count++] = anchor;
}

/* EACCES, EROFS and EPERM: the sandbox has the same credentials and cannot create the path either. */
static bool nobody_can_create(int err) {
    return err == EACCES || err == EROFS || err == EPERM || err == ENAMETOOLONG;
}

/* `err` is a positive errno. */
static _Noreturn void refuse(const char *op, const char *path, int err) {
    errno = err;
    if (err == EUSERS) fail_msg(op, path, "a sandbox of another user holds this placeholder; try again when it has ended");
    fail_sys(op, path);
}

/*
 * One parent component: a descriptor to go on with, -1 when the walk ends here with `m->result` set, -2 to begin again
 * because the tree changed meanwhile.
 */
static int step_into(struct airlock_spec *spec, struct locks *locks, uint32_t index, int dir, size_t length) {
    struct mask *m = &spec->masks[index];
    char name[256];
    const char *begin = m->path + length;
    while (begin > m->path && begin[-1] != '/') begin--;
    size_t n = (size_t)(m->path + length - begin);
    memcpy(name, begin, n);
    name[n] = '\0';

    int lock = -1;
    mode_t kind = 0;
    int got = acquire_name(dir, name, MARKER_PARENT, &lock, &kind);
    if (got < 0 && nobody_can_create(-got)) {
        m->result = PH_SKIPPED;
        return -1;
    }
    if (got == -ENOENT) return -2;
    if (got < 0) refuse("placeholder parent", m->path, -got);
    int next = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool blocked = next < 0 && (errno == ENOTDIR || errno == ELOOP);
    if (lock >= 0) keep_lock(spec, locks, lock);
    if (next < 0 && !blocked) return -2;
    /* A file or symbolic link, or another run's leaf, stands where a parent should be: keep it in its place. */
    if (blocked || kind == MARKER_LEAF) {
        add_anchor(spec, locks, (struct anchor){index, (uint32_t)length, kind == MARKER_LEAF});
        m->result = PH_BLOCKED;
        if (next >= 0) close(next);
        return -1;
    }
    if (kind == MARKER_PARENT) add_anchor(spec, locks, (struct anchor){index, (uint32_t)length, false});
    return next;
}

static int walk_parents(struct airlock_spec *spec, struct locks *locks, uint32_t index, int root) {
    const char *path = spec->masks[index].path;
    int dir = root;
    for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        int next = step_into(spec, locks, index, dir, (size_t)(slash - path));
        if (dir != root) close(dir);
        if (next < 0) return next;
        dir = next;
    }
    return dir;
}

/* One attempt; false to begin again. */
static bool acquire_once(struct airlock_spec *spec, struct locks *locks, uint32_t index, int root) {
    struct mask *m = &spec->masks[index];
    int dir = walk_parents(spec, locks, index, root);
    if (dir < 0) return dir == -1;
    const char *slash = strrchr(m->path, '/');
    struct stat st;
    int lock = -1;
    mode_t kind = 0;
    mode_t want = (m->flags & MASK_DOT_FILE) != 0 ? MARKER_DOT : MARKER_LEAF;
    int got = acquire_name(dir, slash == NULL ? m->path : slash + 1, want, &lock, &kind);
    bool owned = fstat(dir, &st) == 0 && st.st_uid == geteuid();
    if (dir != root) close(dir);
    if (got == -ENOENT) return false;
    if (got == -EACCES && owned) fail_msg("placeholder", m->path, "its directory is yours and not writable; the sandbox could change that");
    if (got < 0 && !nobody_can_create(-got)) refuse("placeholder", m->path, -got);
    m->result = got < 0 ? PH_SKIPPED : (uint8_t)got;
    if (lock >= 0) keep_lock(spec, locks, lock);
    return true;
}

void placeholders_acquire(struct airlock_spec *spec, struct locks *locks) {
    mode_t before = umask(0);
    for (uint32_t i = 0; i < spec->mask_count; i++) {
        struct mask *m = &spec->masks[i];
        if (m->kind != MASK_PLACEHOLDER) continue;
        int root = resolve_root(spec->roots.items[m->root]);
        if (root < 0) fail_sys("placeholder root", spec->roots.items[m->root]);
        bool done = false;
        for (int tries = 0; !done && tries < MAX_TRIES; tries++) done = acquire_once(spec, locks, i, root);
        close(root);
        if (!done) fail_msg("placeholder", m->path, "the directory keeps changing");
    }
    umask(before);
}

int placeholder_release(int parent, const char *name, int *kept) {
    struct stat st;
    int fd = openat(parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return 0;
    int result = 0;
    if (fstat(fd, &st) == 0 && marker_kind(&st) != 0) {
        result = -1;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            result = 0;
            if (fstat(fd, &st) == 0 && same_object(parent, name, &st)) {
                if (unlinkat(parent, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) == 0) result = 1;
                else result = errno == ENOTEMPTY || errno == EEXIST ? -2 : -1;
            }
        }
    }
    if (result == 1 && kept != NULL) *kept = fd;
    else close(fd);
    return result;
}
