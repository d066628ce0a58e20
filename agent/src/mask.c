#include "mask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fail.h"
#include "proto.h"
#include "resolve.h"

/* nosuid and nodev are what bubblewrap would add by remounting each mount; with them set it leaves the mounts alone. */
enum { ATTR_PIN = K_ATTR_NOSUID | K_ATTR_NODEV, ATTR_FROZEN = ATTR_PIN | K_ATTR_RDONLY };

struct covers {
    int hidden_file, hidden_dir, empty_dir;
};

static int copy_tree(int source, bool recursive) {
    unsigned flags = K_AT_EMPTY_PATH | K_OPEN_TREE_CLONE | K_OPEN_TREE_CLOEXEC | (recursive ? K_AT_RECURSIVE : 0u);
    return k_open_tree(source, "", flags);
}

bool bind_over(int source, int target, bool recursive, uint64_t attributes) {
    int tree = copy_tree(source, recursive);
    if (tree < 0) return false;
    struct k_mount_attr attr = {.attr_set = attributes};
    bool ok = attributes == 0 || k_mount_setattr(tree, recursive ? K_AT_RECURSIVE : 0u, &attr) == 0;
    ok = ok && k_move_mount(tree, target) == 0;
    int saved = errno;
    close(tree);
    errno = saved;
    return ok;
}

static bool type_matches(uint8_t expect, mode_t mode) {
    switch (expect) {
    case EXPECT_FILE: return S_ISREG(mode);
    case EXPECT_DIR: return S_ISDIR(mode);
    case EXPECT_SYMLINK: return S_ISLNK(mode);
    default: return true;
    }
}

static _Noreturn void lost(const char *path, const char *message, int err) {
    fail_with(&(struct failure){.code = ERR_MASK_LOST, .op = "mask", .err = err, .path = path, .message = message});
}

bool is_mount(int fd) {
    struct k_statx st;
    return k_statx(fd, "", K_AT_EMPTY_PATH, &st) == 0 && (st.attributes & K_STATX_ATTR_MOUNT_ROOT) != 0;
}

static bool apply_pin(int fd, mode_t mode) {
    if (is_mount(fd)) return true;
    return bind_over(fd, fd, S_ISDIR(mode), S_ISLNK(mode) ? ATTR_FROZEN : ATTR_PIN);
}

static bool apply_kind(const struct covers *covers, const struct mask *m, int fd, mode_t mode) {
    uint8_t kind = m->kind;
    bool hidden = (m->flags & MASK_COVER_HIDDEN) != 0;
    if (kind == MASK_PLACEHOLDER && m->result == PH_REAL) kind = hidden ? MASK_HIDE : MASK_READONLY;
    switch (kind) {
    case MASK_PIN: return apply_pin(fd, mode);
    case MASK_READONLY: return bind_over(fd, fd, S_ISDIR(mode), ATTR_FROZEN);
    case MASK_PLACEHOLDER:
        if ((m->flags & MASK_DOT_FILE) != 0) return bind_over(fd, fd, false, ATTR_FROZEN);
        return bind_over(hidden ? covers->hidden_dir : covers->empty_dir, fd, false, 0);
    case MASK_HIDE: return bind_over(S_ISDIR(mode) ? covers->hidden_dir : covers->hidden_file, fd, false, 0);
    default: return false;
    }
}

static bool may_skip(const struct mask *m, int err) {
    if (m->kind == MASK_PLACEHOLDER || (m->flags & MASK_SKIP_MISSING) == 0) return false;
    return err == ENOENT || err == ENOTDIR || err == EACCES;
}

static void apply_mask(struct resolver *r, const struct airlock_spec *spec, const struct covers *covers,
                       const struct mask *m) {
    const char *name;
    int parent = resolve_parent(r, spec->roots.items, m->root, m->path, &name);
    int fd = parent < 0 ? -1 : openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        if (may_skip(m, errno)) return;
        lost(m->path, NULL, errno);
    }
    struct stat st;
    if (fstat(fd, &st) < 0) lost(m->path, NULL, errno);
    if (!type_matches(m->expect, st.st_mode)) lost(m->path, "it is no longer what it was", 0);
    if (m->kind == MASK_PLACEHOLDER && m->result != PH_REAL && marker_kind(&st) == 0)
        lost(m->path, "the placeholder was replaced", 0);
    if (!apply_kind(covers, m, fd, st.st_mode)) fail_sys("mount", m->path);
    close(fd);
}

static void apply_anchor(struct resolver *r, const struct airlock_spec *spec, const struct anchor *anchor) {
    const struct mask *m = &spec->masks[anchor->mask];
    char *path = strndup(m->path, anchor->length);
    if (path == NULL) fail_msg("mask", m->path, "out of memory");
    struct mask pin = {.kind = anchor->readonly ? MASK_READONLY : MASK_PIN, .root = m->root, .path = path};
    apply_mask(r, spec, &(struct covers){-1, -1, -1}, &pin);
    free(path);
}

static int open_cover(const char *scratch, const char *name) {
    int dir = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = dir < 0 ? -1 : openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) fail_sys("open", name);
    close(dir);
    return fd;
}

void masks_apply(const struct airlock_spec *spec, const struct locks *locks) {
    fail_stage("mask");
    struct covers covers = {
        open_cover(spec->scratch, "hidden-file"),
        open_cover(spec->scratch, "hidden-dir"),
        open_cover(spec->scratch, "empty-dir"),
    };
    struct resolver r = RESOLVER_EMPTY;
    size_t anchor = 0;
    for (uint32_t i = 0; i < spec->mask_count; i++) {
        for (; anchor < locks->anchor_count && locks->anchors[anchor].mask == i; anchor++)
            apply_anchor(&r, spec, &locks->anchors[anchor]);
        const struct mask *m = &spec->masks[i];
        bool absent = m->kind == MASK_PLACEHOLDER && (m->result == PH_SKIPPED || m->result == PH_BLOCKED);
        if (!absent) apply_mask(&r, spec, &covers, m);
    }
    resolver_close(&r);
    close(covers.hidden_file);
    close(covers.hidden_dir);
    close(covers.empty_dir);
}
