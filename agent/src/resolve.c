#include "resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "kernel.h"

int resolve_root(const char *root) {
    return k_openat2(AT_FDCWD, root, O_PATH | O_DIRECTORY | O_CLOEXEC,
                     K_RESOLVE_NO_MAGICLINKS | K_RESOLVE_NO_SYMLINKS);
}

static void forget_parent(struct resolver *r) {
    if (r->parent_fd >= 0) close(r->parent_fd);
    r->parent_fd = -1;
    free(r->parent);
    r->parent = NULL;
}

void resolver_close(struct resolver *r) {
    forget_parent(r);
    if (r->root_fd >= 0) close(r->root_fd);
    r->root_fd = -1;
}

static bool use_root(struct resolver *r, char *const *roots, uint32_t root) {
    if (r->root_fd >= 0 && r->root == root) return true;
    resolver_close(r);
    r->root = root;
    r->root_fd = resolve_root(roots[root]);
    return r->root_fd >= 0;
}

int resolve_parent(struct resolver *r, char *const *roots, uint32_t root, const char *path, const char **name) {
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    *name = slash == NULL ? path : slash + 1;
    if (r->parent_fd >= 0 && r->root == root && strlen(r->parent) == len && memcmp(r->parent, path, len) == 0)
        return r->parent_fd;
    if (!use_root(r, roots, root)) return -1;
    forget_parent(r);
    r->parent = strndup(path, len);
    if (r->parent == NULL) return -1;
    uint64_t how = K_RESOLVE_BENEATH | K_RESOLVE_NO_SYMLINKS | K_RESOLVE_NO_MAGICLINKS;
    r->parent_fd = k_openat2(r->root_fd, len == 0 ? "." : r->parent, O_PATH | O_DIRECTORY | O_CLOEXEC, how);
    return r->parent_fd;
}
