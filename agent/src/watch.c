/*
 * Watching a directory with inotify(7): what happened, by path below it. Nobody has to read fast: while the host gives no credit
 * the kernel's queue fills, and what did not fit is said (REC_OVERFLOW).
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "work.h"

enum {
    MASK = IN_CREATE | IN_MODIFY | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF,
    HOW = IN_ONLYDIR | IN_EXCL_UNLINK,
    READ_BYTES = 64 * 1024,
    /* A rename is two records, one behind the other. */
    PAIR_MS = 10,
    EVENT_HEAD = 6,
    /* Names of a new directory that were told before the kernel told them. */
    TOLD_MAX = 512,
};

struct watching {
    struct worker *w;
    int fd;
    char **paths; /* by watch descriptor: below the root with a slash at the end, "" the root; NULL not watched */
    size_t cap, count;
    bool full, gone, renewed;
    dev_t root_dev;
    ino_t root_ino;
    /* The first half of a rename. */
    uint32_t cookie;
    bool from_dir;
    char from[PATH_MAX];
    char *told[TOLD_MAX];
    size_t told_count;
};

/* u8 kind, u8 entry type (file or directory), u16 length, u16 length of the second path, path, second path */
static bool put_event(struct watching *x, uint8_t kind, bool is_dir, const char *path, const char *to) {
    struct slice first = slice_of(path), second = slice_of(to);
    uint8_t head[EVENT_HEAD] = {kind, is_dir ? ENTRY_DIR : ENTRY_FILE};
    put_le(head + 2, first.len, 2);
    put_le(head + 4, second.len, 2);
    return record_put(x->w, REC_EVENT, head, sizeof head, first, second);
}

static bool put_overflow(struct watching *x, uint8_t kind) {
    struct slice none = {0};
    return record_put(x->w, REC_OVERFLOW, &kind, 1, none, none);
}

static void note_told(struct watching *x, const char *path) {
    char *copy = x->told_count < TOLD_MAX ? strdup(path) : NULL;
    if (copy != NULL) x->told[x->told_count++] = copy;
}

/* True when the creation of this path was told already; whatever happens to it, it is new to us from then on. */
static bool was_told(struct watching *x, const char *path) {
    for (size_t i = 0; i < x->told_count; i++) {
        if (strcmp(x->told[i], path) != 0) continue;
        free(x->told[i]);
        x->told[i] = x->told[--x->told_count];
        return true;
    }
    return false;
}

static void forget_told(struct watching *x) {
    while (x->told_count > 0) free(x->told[--x->told_count]);
}

static bool remember(struct watching *x, int wd, const char *path) {
    if ((size_t)wd >= x->cap) {
        size_t cap = ((size_t)wd + 1) * 2;
        char **grown = realloc(x->paths, cap * sizeof *grown);
        if (grown == NULL) return work_fail_with(x->w, "memory", ENOMEM);
        memset(grown + x->cap, 0, (cap - x->cap) * sizeof *grown);
        x->paths = grown;
        x->cap = cap;
    }
    char *copy = strdup(path);
    if (copy == NULL) return work_fail_with(x->w, "memory", ENOMEM);
    if (x->paths[wd] == NULL) x->count++;
    free(x->paths[wd]);
    x->paths[wd] = copy;
    return true;
}

static void forget(struct watching *x, int wd) {
    if (wd < 0 || (size_t)wd >= x->cap || x->paths[wd] == NULL) return;
    free(x->paths[wd]);
    x->paths[wd] = NULL;
    x->count--;
}

static bool says_full(struct watching *x) {
    if (x->full) return true;
    x->full = true;
    return put_overflow(x, OVERFLOW_WATCHES);
}

/*
 * The whole path of what lies at `below`; false when that is too long. No directory is held open, nor is one the working
 * directory: the kernel tells the end of a directory only when nobody uses it any more.
 */
static bool place(const struct watching *x, const char *below, char out[PATH_MAX]) {
    size_t a = strlen(x->w->spec->path), b = strlen(below);
    if (a + b + 2 > PATH_MAX) return false;
    memcpy(out, x->w->spec->path, a);
    out[a] = '/';
    memcpy(out + a + 1, below, b + 1);
    /* A slash at the end would follow a link. */
    if (out[a + b] == '/') out[a + b] = '\0';
    return true;
}

/* `dir` ends with a slash, or is "" for the root. One that vanished, is unreadable or is a link is passed over. */
static bool add_watch(struct watching *x, const char *dir) {
    if (x->count >= x->w->spec->max) return says_full(x);
    char path[PATH_MAX];
    if (!place(x, dir, path)) return true;
    int wd = inotify_add_watch(x->fd, path, MASK | HOW | (*dir == '\0' ? 0 : IN_DONT_FOLLOW));
    if (wd < 0 && errno == ENOSPC) return says_full(x);
    if (wd < 0 && *dir == '\0') return work_fail(x->w, "watch");
    return wd < 0 || remember(x, wd, dir);
}

static bool add_tree(struct watching *x, const char *dir, bool tell, unsigned depth);

static bool add_child(struct watching *x, const char *dir, const struct dirent *entry, bool tell, unsigned depth) {
    char path[PATH_MAX], whole[PATH_MAX];
    struct stat st;
    size_t a = strlen(dir), b = strlen(entry->d_name);
    if (a + b + 2 > sizeof path) return true;
    memcpy(path, dir, a);
    memcpy(path + a, entry->d_name, b + 1);
    if (!place(x, path, whole) || lstat(whole, &st) < 0) return true;
    if (tell && !put_event(x, EVENT_CREATE, S_ISDIR(st.st_mode), path, "")) return false;
    if (tell) note_told(x, path);
    if (!S_ISDIR(st.st_mode)) return true;
    memcpy(path + a + b, "/", 2);
    return add_tree(x, path, tell, depth + 1);
}

/* The watch comes before the look, so that nothing is missed; what is made in between comes twice, see `was_told`. */
static bool add_tree(struct watching *x, const char *dir, bool tell, unsigned depth) {
    if (!add_watch(x, dir)) return false;
    if ((x->w->spec->flags & WF_RECURSIVE) == 0 || x->full || depth >= DEPTH_MAX) return true;
    char path[PATH_MAX];
    DIR *list = place(x, dir, path) ? opendir(path) : NULL;
    if (list == NULL) return true;
    bool ok = true;
    for (const struct dirent *entry; ok && (entry = readdir(list)) != NULL;) {
        bool dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        /* Only directories matter when nothing has to be told. */
        if (dots || (!tell && entry->d_type != DT_DIR && entry->d_type != DT_UNKNOWN)) continue;
        ok = !work_stopped(x->w) && add_child(x, dir, entry, tell, depth);
    }
    closedir(list);
    return ok;
}

/* A directory got another name, or left (`to` NULL): so did everything below it. */
static bool move_paths(struct watching *x, const char *from, const char *to) {
    size_t n = strlen(from);
    for (size_t wd = 0; wd < x->cap; wd++) {
        const char *path = x->paths[wd];
        if (path == NULL || strncmp(path, from, n) != 0 || path[n] != '/') continue;
        if (to == NULL) {
            inotify_rm_watch(x->fd, (int)wd);
            forget(x, (int)wd);
            continue;
        }
        char moved[PATH_MAX];
        size_t a = strlen(to), b = strlen(path + n);
        if (a + b >= sizeof moved) {
            forget(x, (int)wd);
            continue;
        }
        memcpy(moved, to, a);
        memcpy(moved + a, path + n, b + 1);
        if (!remember(x, (int)wd, moved)) return false;
    }
    return true;
}

/* The second half did not come: it went somewhere that nobody watches. */
static bool flush_rename(struct watching *x) {
    if (x->cookie == 0) return true;
    x->cookie = 0;
    return (!x->from_dir || move_paths(x, x->from, NULL)) && put_event(x, EVENT_REMOVE, x->from_dir, x->from, "");
}

static bool on_moved(struct watching *x, const struct inotify_event *e, bool is_dir, const char *path) {
    if ((e->mask & IN_MOVED_FROM) != 0) {
        if (!flush_rename(x)) return false;
        x->cookie = e->cookie;
        x->from_dir = is_dir;
        strcpy(x->from, path);
        return true;
    }
    if (x->cookie == e->cookie && x->cookie != 0) {
        x->cookie = 0;
        return (!is_dir || move_paths(x, x->from, path)) && put_event(x, EVENT_RENAME, is_dir, x->from, path);
    }
    return put_event(x, EVENT_CREATE, is_dir, path, "");
}

static bool enter(struct watching *x, const char *path) {
    char dir[PATH_MAX];
    size_t n = strlen(path);
    if (n + 2 > sizeof dir) return true;
    memcpy(dir, path, n);
    memcpy(dir + n, "/", 2);
    return add_tree(x, dir, true, 1);
}

static bool on_named(struct watching *x, const struct inotify_event *e, const char *path) {
    bool is_dir = (e->mask & IN_ISDIR) != 0, paired = x->cookie != 0 && x->cookie == e->cookie;
    if (!paired && !flush_rename(x)) return false;
    bool told = x->told_count > 0 && was_told(x, path);
    if (told && (e->mask & IN_CREATE) != 0) return true;
    bool enters = is_dir && (x->w->spec->flags & WF_RECURSIVE) != 0;
    if ((e->mask & (IN_MOVED_FROM | IN_MOVED_TO)) != 0) {
        bool arrived = (e->mask & IN_MOVED_TO) != 0 && !paired;
        return on_moved(x, e, is_dir, path) && (!arrived || !enters || enter(x, path));
    }
    if ((e->mask & IN_CREATE) != 0) return put_event(x, EVENT_CREATE, is_dir, path, "") && (!enters || enter(x, path));
    if ((e->mask & IN_DELETE) != 0) return put_event(x, EVENT_REMOVE, is_dir, path, "");
    return put_event(x, (e->mask & IN_MODIFY) != 0 ? EVENT_WRITE : EVENT_CHMOD, is_dir, path, "");
}

/* Which directory this is; the watch ends with it, also when another takes its name. */
static bool same_root(struct watching *x, bool first) {
    struct stat st;
    if (stat(x->w->spec->path, &st) < 0) return false;
    if (first) {
        x->root_dev = st.st_dev;
        x->root_ino = st.st_ino;
    }
    return st.st_dev == x->root_dev && st.st_ino == x->root_ino;
}

/* What was lost may be the end of the root, or directories that came and went: everything is watched anew, then the loss is told. */
static bool renew(struct watching *x) {
    for (size_t wd = 0; wd < x->cap; wd++) forget(x, (int)wd);
    forget_told(x);
    close(x->fd);
    x->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    x->renewed = true;
    x->gone = !same_root(x, false);
    if (x->fd < 0) return work_fail(x->w, "watch");
    if (!x->gone && !add_tree(x, "", false, 0)) {
        /* Removed this very moment. */
        if (x->w->err != ENOENT && x->w->err != ENOTDIR) return false;
        x->w->err = 0;
        x->gone = true;
    }
    return put_overflow(x, OVERFLOW_QUEUE);
}

static bool on_event(struct watching *x, const struct inotify_event *e) {
    if ((e->mask & IN_Q_OVERFLOW) != 0) return flush_rename(x) && renew(x);
    const char *dir = e->wd >= 0 && (size_t)e->wd < x->cap ? x->paths[e->wd] : NULL;
    if (dir == NULL) return true;
    bool root = *dir == '\0';
    if (root && (e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT)) != 0) x->gone = true;
    if ((e->mask & IN_IGNORED) != 0) forget(x, e->wd);
    if (e->len == 0 || (e->mask & IN_IGNORED) != 0) return true;
    char path[PATH_MAX];
    size_t a = strlen(dir), b = strnlen(e->name, e->len);
    if (a + b >= sizeof path) return true;
    memcpy(path, dir, a);
    memcpy(path + a, e->name, b);
    path[a + b] = '\0';
    return on_named(x, e, path);
}

static bool read_events(struct watching *x) {
    static _Alignas(struct inotify_event) char events[READ_BYTES];
    ssize_t n = read(x->fd, events, sizeof events);
    if (n < 0) {
        forget_told(x);
        return errno == EINTR || errno == EAGAIN || work_fail(x->w, "watch");
    }
    x->renewed = false;
    for (ssize_t at = 0; at < n && !x->renewed;) {
        const struct inotify_event *e = (const struct inotify_event *)(events + at);
        if (!on_event(x, e)) return false;
        at += (ssize_t)(sizeof *e + e->len);
    }
    return true;
}

/* Until the root is gone, the host gives up (RESET, or the end of the input) or something fails. */
static void follow(struct watching *x) {
    while (!x->gone && !work_stopped(x->w)) {
        struct pollfd polls[2] = {{.fd = x->fd, .events = POLLIN}, {.fd = x->w->in, .events = POLLIN}};
        int ready = poll(polls, 2, x->cookie != 0 || x->told_count > 0 ? PAIR_MS : -1);
        if (ready < 0 && errno != EINTR) {
            work_fail(x->w, "poll");
            return;
        }
        if (ready == 0) forget_told(x);
        if (ready == 0 && !flush_rename(x)) return;
        if (ready > 0 && polls[1].revents != 0) return;
        if (ready > 0 && polls[0].revents != 0 && !read_events(x)) return;
        if (x->cookie == 0 && !record_flush(x->w)) return;
    }
}

void watch_run(struct worker *w) {
    static struct watching x;
    struct slice none = {0};
    x = (struct watching){.w = w, .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    if (x.fd < 0) {
        work_fail(w, "watch");
        return;
    }
    same_root(&x, true);
    if (!add_tree(&x, "", false, 0) || !record_put(w, REC_WATCHING, NULL, 0, none, none) || !record_flush(w)) return;
    follow(&x);
}
