/* Listing and removing directories, by descriptor: no name is looked up twice, no link is followed on the way. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "work.h"

enum {
    /* A path inside a listing: DEPTH_MAX names and slashes. */
    LIST_PATH_MAX = DEPTH_MAX * (NAME_MAX + 1),
    /* Deeper than anything that tools can make by accident. */
    LEVELS_MAX = 100000,
    /* Somebody fills a directory as fast as it is emptied. */
    REFILLS_MAX = 1000,
};

static bool is_dots(const char *name) { return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')); }

struct listing {
    struct worker *w;
    struct buf entry;
    size_t len; /* of the directory's path, with its slash */
    char path[LIST_PATH_MAX + 1];
};

static bool list_directory(struct listing *list, int fd, uint32_t depth);

/* A directory that vanished or may not be read is left out, and said so. */
static bool list_below(struct listing *list, int dir, const char *name, uint32_t depth) {
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        list->w->flags |= DONE_UNREADABLE;
        return true;
    }
    size_t before = list->len, n = strlen(name);
    memcpy(list->path + before, name, n);
    list->path[before + n] = '/';
    list->len = before + n + 1;
    bool ok = list_directory(list, fd, depth);
    list->len = before;
    return ok;
}

static bool list_entry(struct listing *list, int dir, const char *name, bool *is_dir) {
    struct worker *w = list->w;
    struct stat st;
    *is_dir = false;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return true;
    if (w->count >= w->spec->max) {
        w->flags |= DONE_TRUNCATED;
        return false;
    }
    size_t n = strlen(name);
    memcpy(list->path + list->len, name, n);
    struct slice path = {(const uint8_t *)list->path, list->len + n};
    buf_consume(&list->entry, list->entry.len);
    if (!entry_encode(&list->entry, dir, name, &st, path)) return work_fail_with(w, "memory", ENOMEM);
    w->count++;
    *is_dir = S_ISDIR(st.st_mode);
    return record_put(w, REC_ENTRY, buf_head(&list->entry), list->entry.len, (struct slice){0}, (struct slice){0});
}

/* Owns `fd`. */
static bool list_directory(struct listing *list, int fd, uint32_t depth) {
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        work_fail(list->w, "list");
        close(fd);
        return false;
    }
    bool ok = true;
    while (ok) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0) ok = work_fail(list->w, "list");
            break;
        }
        if (is_dots(entry->d_name)) continue;
        bool is_dir;
        ok = !work_stopped(list->w) && list_entry(list, dirfd(dir), entry->d_name, &is_dir);
        if (ok && is_dir && depth > 1) ok = list_below(list, dirfd(dir), entry->d_name, depth - 1);
    }
    closedir(dir);
    return ok;
}

void tree_list(struct worker *w) {
    static struct listing list;
    list.w = w;
    list.len = 0;
    int fd = open(w->spec->path, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) work_fail(w, "list");
    else list_directory(&list, fd, w->spec->depth);
    buf_free(&list.entry);
}

/* A directory above the one that is being emptied. */
struct level {
    dev_t dev;
    ino_t ino;
    char *name; /* of the directory below it that was entered */
};

struct removal {
    struct worker *w;
    int fd; /* the directory that is being emptied */
    struct level *levels;
    size_t depth, cap;
    unsigned refills;
};

/* unlinkat(2) of a directory: EISDIR; EPERM by POSIX, and for what a sticky directory protects. */
static bool is_directory(int dir, const char *name, int err) {
    struct stat st;
    if (err != EPERM) return err == EISDIR;
    bool found = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    errno = err;
    return found && S_ISDIR(st.st_mode);
}

/* Removes everything but directories; 1 with the name of a directory, 0 when there is none, -1 failed. */
static int empty_files(struct removal *r, char name[NAME_MAX + 1]) {
    int copy = openat(r->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    int found = 0;
    if (dir == NULL) {
        work_fail(r->w, "remove");
        if (copy >= 0) close(copy);
        return -1;
    }
    for (const struct dirent *entry; found == 0 && (entry = readdir(dir)) != NULL;) {
        if (is_dots(entry->d_name)) continue;
        if (work_stopped(r->w)) found = -1;
        else if (unlinkat(r->fd, entry->d_name, 0) == 0) r->w->count++;
        else if (errno == ENOENT) continue;
        else if (is_directory(r->fd, entry->d_name, errno) && strlen(entry->d_name) <= NAME_MAX) {
            strcpy(name, entry->d_name);
            found = 1;
        } else {
            work_fail(r->w, "remove");
            found = -1;
        }
    }
    closedir(dir);
    return found;
}

static bool push_level(struct removal *r, const char *name) {
    struct stat st;
    if (fstat(r->fd, &st) < 0) return work_fail(r->w, "stat");
    if (r->depth >= LEVELS_MAX) return work_fail_with(r->w, "remove", ELOOP);
    if (r->depth == r->cap) {
        size_t cap = r->cap == 0 ? 64 : r->cap * 2;
        struct level *grown = realloc(r->levels, cap * sizeof *grown);
        if (grown == NULL) return work_fail_with(r->w, "memory", ENOMEM);
        r->levels = grown;
        r->cap = cap;
    }
    char *copy = strdup(name);
    if (copy == NULL) return work_fail_with(r->w, "memory", ENOMEM);
    r->levels[r->depth++] = (struct level){st.st_dev, st.st_ino, copy};
    return true;
}

static bool refill(struct removal *r) { return ++r->refills <= REFILLS_MAX || work_fail_with(r->w, "remove", ENOTEMPTY); }

static bool descend(struct removal *r, const char *name) {
    int below = openat(r->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (below < 0) {
        int err = errno;
        /* Replaced meanwhile, or empty though unreadable. */
        if (err == ENOTDIR || err == ELOOP || err == ENOENT) return refill(r);
        if (unlinkat(r->fd, name, AT_REMOVEDIR) == 0) return true;
        return work_fail_with(r->w, "remove", errno == EPERM || errno == EBUSY ? errno : err);
    }
    if (!push_level(r, name)) {
        close(below);
        return false;
    }
    close(r->fd);
    r->fd = below;
    return true;
}

/* Back to the directory that we came from, or nowhere: it may have been moved while we were below. */
static bool ascend(struct removal *r) {
    struct level *level = &r->levels[--r->depth];
    struct stat st;
    int above = openat(r->fd, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ok = above >= 0 && fstat(above, &st) == 0;
    if (!ok) work_fail(r->w, "remove");
    else if (st.st_dev != level->dev || st.st_ino != level->ino) ok = work_fail_with(r->w, "remove", ESTALE);
    if (above >= 0) {
        close(r->fd);
        r->fd = above;
    }
    if (ok && unlinkat(r->fd, level->name, AT_REMOVEDIR) == 0) r->w->count++;
    else if (ok && (errno == ENOTEMPTY || errno == EEXIST || errno == ENOENT || errno == ENOTDIR)) ok = refill(r);
    else if (ok) ok = work_fail(r->w, "remove");
    free(level->name);
    return ok;
}

static bool empty_tree(struct removal *r) {
    char name[NAME_MAX + 1];
    for (;;) {
        int found = empty_files(r, name);
        if (found < 0) return false;
        if (found == 1 && !descend(r, name)) return false;
        if (found == 0 && r->depth == 0) return true;
        if (found == 0 && !ascend(r)) return false;
    }
}

static bool remove_directory(struct worker *w, int parent, const char *name) {
    struct removal r = {.w = w};
    while (refill(&r)) {
        if (unlinkat(parent, name, AT_REMOVEDIR) == 0) {
            w->count++;
            return true;
        }
        if ((errno != ENOTEMPTY && errno != EEXIST) || (w->spec->flags & WF_RECURSIVE) == 0) return work_fail(w, "remove");
        r.fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (r.fd < 0) return work_fail(w, "remove");
        bool ok = empty_tree(&r);
        close(r.fd);
        while (r.depth > 0) free(r.levels[--r.depth].name);
        free(r.levels);
        r.levels = NULL;
        r.cap = 0;
        if (!ok) return false;
    }
    return false;
}

/* Splits "/a/b/" into the open directory "/a" and the name "b"; -1 with the result set. */
static int open_parent(struct worker *w, char *path, const char **name) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') path[--n] = '\0';
    char *slash = strrchr(path, '/');
    *name = slash + 1;
    if (**name == '\0' || is_dots(*name)) {
        work_fail_with(w, "remove", EINVAL);
        return -1;
    }
    *slash = '\0';
    int fd = open(slash == path ? "/" : path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) work_fail(w, "remove");
    return fd;
}

void tree_remove(struct worker *w) {
    const char *name;
    int parent = open_parent(w, w->spec->path, &name);
    if (parent < 0) return;
    if (unlinkat(parent, name, 0) == 0) w->count++;
    else if (is_directory(parent, name, errno)) remove_directory(w, parent, name);
    else work_fail(w, "remove");
    close(parent);
}
