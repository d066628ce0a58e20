/* Operations on one name. Symbolic links are followed as for a command: this process may do what a command may, and no more. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "work.h"

enum { K_RENAME_NOREPLACE = 1 };

void report_entry(struct worker *w, int dir, const char *name, bool follow) {
    struct stat st;
    /* Gone again, or hidden: then the result has no entry. */
    if (fstatat(dir, name, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) return;
    if (!entry_encode(&w->entry, dir, name, &st, (struct slice){NULL, 0})) work_fail_with(w, "memory", ENOMEM);
}

static void file_stat(struct worker *w) {
    struct stat st;
    bool follow = (w->spec->flags & WF_FOLLOW) != 0;
    if (fstatat(AT_FDCWD, w->spec->path, &st, follow ? 0 : AT_SYMLINK_NOFOLLOW) < 0) {
        work_fail(w, "stat");
        return;
    }
    if (!entry_encode(&w->entry, AT_FDCWD, w->spec->path, &st, (struct slice){NULL, 0})) work_fail_with(w, "memory", ENOMEM);
}

static bool is_directory(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/*
 * Like `mkdir -p` for the first `len` bytes of a path. A directory that is there already is no error; `made` says about the last.
 * Something else there is `taken`, or ENOTDIR above the last.
 */
static bool make_path(struct worker *w, const char *path, size_t len, int taken, bool *made) {
    char part[PATH_MAX];
    if (len >= sizeof part) return work_fail_with(w, "mkdir", ENAMETOOLONG);
    *made = false;
    for (size_t n = 1; n <= len; n++) {
        if (n < len && path[n] != '/') continue;
        memcpy(part, path, n);
        part[n] = '\0';
        *made = mkdir(part, 0777) == 0;
        if (*made) continue;
        int err = errno;
        /* A read-only file system answers EROFS before it looks whether the name is there. */
        bool may_be_there = err == EEXIST || err == EROFS || err == EACCES;
        if (may_be_there && is_directory(part)) continue;
        return work_fail_with(w, "mkdir", err != EEXIST ? err : n < len ? ENOTDIR : taken);
    }
    return true;
}

static size_t parent_length(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    while (n > 1 && path[n - 1] != '/') n--;
    while (n > 1 && path[n - 1] == '/') n--;
    return n;
}

bool make_parents(struct worker *w, const char *path) {
    bool made;
    size_t len = parent_length(path);
    return len <= 1 || make_path(w, path, len, ENOTDIR, &made);
}

static void file_mkdir(struct worker *w) {
    const struct work_spec *s = w->spec;
    size_t len = strlen(s->path);
    bool made = false;
    while (len > 1 && s->path[len - 1] == '/') len--;
    if ((s->flags & WF_PARENTS) != 0) {
        if (!make_path(w, s->path, len, EEXIST, &made)) return;
    } else if (mkdir(s->path, 0777) < 0) {
        work_fail(w, "mkdir");
        return;
    } else {
        made = true;
    }
    if (made) w->flags |= DONE_CREATED;
    if (made && s->has_mode && chmod(s->path, s->mode) < 0) work_fail(w, "chmod");
    report_entry(w, AT_FDCWD, s->path, false);
}

static void file_rename(struct worker *w) {
    const struct work_spec *s = w->spec;
    if ((s->flags & WF_PARENTS) != 0 && !make_parents(w, s->target)) return;
    unsigned flags = (s->flags & WF_NO_REPLACE) != 0 ? K_RENAME_NOREPLACE : 0;
    long result = flags == 0 ? rename(s->path, s->target)
                             : syscall(SYS_renameat2, AT_FDCWD, s->path, AT_FDCWD, s->target, flags);
    if (result < 0) work_fail(w, "rename");
    else report_entry(w, AT_FDCWD, s->target, false);
}

static void file_chmod(struct worker *w) {
    if (chmod(w->spec->path, w->spec->mode) < 0) work_fail(w, "chmod");
    else report_entry(w, AT_FDCWD, w->spec->path, true);
}

static void file_symlink(struct worker *w) {
    const struct work_spec *s = w->spec;
    if ((s->flags & WF_PARENTS) != 0 && !make_parents(w, s->path)) return;
    if (symlink(s->target, s->path) < 0) work_fail(w, "symlink");
    else report_entry(w, AT_FDCWD, s->path, false);
}

void files_run(struct worker *w) {
    switch (w->spec->op) {
    case OP_STAT: file_stat(w); break;
    case OP_LIST: tree_list(w); break;
    case OP_READ: transfer_read(w); break;
    case OP_WRITE: transfer_write(w); break;
    case OP_MKDIR: file_mkdir(w); break;
    case OP_RENAME: file_rename(w); break;
    case OP_REMOVE: tree_remove(w); break;
    case OP_CHMOD: file_chmod(w); break;
    default: file_symlink(w); break;
    }
}
