/*
 * Placeholders: empty marker directories that stand for a protected path that does not exist yet, so that a mount can
 * cover it. Runs share them; a shared flock(2) on the directory proves that a run lives. See
 * docs/design/agent-protocol.md, "Placeholders".
 */
#ifndef GLOVEBOX_PLACEHOLDER_H
#define GLOVEBOX_PLACEHOLDER_H

#include <sys/stat.h>

#include "spec.h"

enum {
    MARKER_LEAF = 01500,   /* covered in the sandbox */
    MARKER_PARENT = 01700, /* a missing parent: writable, pinned */
    MARKER_DOT = 01400,    /* a file that says ".": what git takes for no `commondir` at all, where a directory stops it */
};

/* A directory or blocking object that this run must pin or make read-only before the mask it belongs to. */
struct anchor {
    uint32_t mask;   /* index of the mask */
    uint32_t length; /* how many bytes of the mask's path name the object */
    bool readonly;
};

struct locks {
    int *fds;
    size_t count, cap;
    struct anchor *anchors;
    size_t anchor_count, anchor_cap;
};

/* The marker kind of an object, or 0. A set-group-id bit inherited from the parent is not looked at. */
mode_t marker_kind(const struct stat *st);

/* Makes or joins the placeholder of every mask of that kind and records each result. Fails closed. */
void placeholders_acquire(struct airlock_spec *spec, struct locks *locks);

/*
 * Removes the marker `name` in `parent_fd` when nobody holds it: 1 removed, 0 not there or no marker, -1 in use,
 * -2 not empty. With `kept`, a removed marker's descriptor is given back: closing it frees the inode, which takes ext4
 * several times as long as removing the name.
 */
int placeholder_release(int parent_fd, const char *name, int *kept);

#endif
