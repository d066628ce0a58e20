/*
 * Trees of the host that are copied into the machine's memory, and one of them back: over a port of their own, by the machine's first
 * processes, which nobody in the sandbox reaches. See "Copied trees" in docs/design/agent-protocol.md.
 */
#ifndef GLOVEBOX_COPIED_H
#define GLOVEBOX_COPIED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* One record of the stream: kind, detail, u16 mode, u64 mtime in ns, u16 length of the name; then the name. */
enum { TREE_HEAD = 14, TREE_NAME_MAX = 255, TREE_TARGET_MAX = 4095, TREE_CHUNK_MAX = 64 * 1024, TREE_DEPTH_MAX = 160 };

struct tree_record {
    uint8_t kind, detail;
    uint16_t mode;
    uint64_t mtime_ns;
    char name[TREE_NAME_MAX + 1];
};

/* A file as it came: whoever finds this inode at this path, unchanged since, need not send it. */
struct tree_seal {
    uint64_t ino, path;
};

struct copied {
    int port, root;  /* `root` holds the trees by number: "0" is the one that comes back */
    uint64_t bytes;  /* that the file system of the trees holds at most */
    struct tree_seal *seals;
    size_t count, cap;
    struct timespec sealed; /* what was changed later is newer */
};

/* The path of `name` in the directory whose path is `path`, as a number. */
enum { TREE_TOP = 0 };
uint64_t tree_path(uint64_t path, const char *name);
/* A name as a directory may hold it. */
bool tree_name_ok(const char *name, size_t len);

/* copied_take.c: reads one stream from `port` into `root`. NULL, or the step that failed, with errno. */
const char *copied_take(struct copied *c, uid_t uid, gid_t gid);
/* Whether the inode was copied in at this path and not changed since. */
bool copied_is_same(const struct copied *c, uint64_t ino, uint64_t path, const struct timespec *ctime);

/* copied_give.c: writes tree "0" to `port`; with `whole` what is as it came too. False with errno when the host takes nothing more. */
bool copied_give(const struct copied *c, bool whole, bool last);

/* copied.c: each fails closed. */
struct machine_spec;
/* Mounts the trees' file system and fills it. Nothing of the sandbox runs yet. */
void copied_in(struct copied *c, const struct machine_spec *spec);
/* Answers the host until one of the two has ended; it may end the sandbox. */
void copied_serve(const struct copied *c, pid_t child, pid_t relay);
/* What the sandbox left behind. Nothing of it runs any more. */
void copied_out(const struct copied *c);

#endif
