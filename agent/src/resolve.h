/* Race-free lookup of a path below a root: the parent by openat2, the last name without following it. */
#ifndef GLOVEBOX_RESOLVE_H
#define GLOVEBOX_RESOLVE_H

#include <stdbool.h>
#include <stdint.h>

/* Remembers the last parent, because consecutive operations mostly share it. */
struct resolver {
    int root_fd, parent_fd;
    uint32_t root;
    char *parent;
};

#define RESOLVER_EMPTY ((struct resolver){.root_fd = -1, .parent_fd = -1})

/* An O_PATH descriptor of an absolute directory; symbolic links above a root are the host's own. -1 with errno. */
int resolve_root(const char *root);

/*
 * The parent directory of `path` below the root number `root`: a borrowed O_PATH descriptor, or -1 with errno. `name` is set to
 * the last component. Symbolic links below the root are refused with ELOOP.
 */
int resolve_parent(struct resolver *r, char *const *roots, uint32_t root, const char *path, const char **name);

void resolver_close(struct resolver *r);

#endif
