/*
 * What the last scan of a tree saw: for each directory when it was read, which directories are in it, and which names match a
 * pattern. A directory whose inode, ctime and mtime are still the same has the same entries: see docs/design/agent-protocol.md,
 * "Memory of the scan".
 */
#ifndef GLOVEBOX_MEMORY_H
#define GLOVEBOX_MEMORY_H

#include "kernel.h"
#include "wire.h"

enum { STAMP_BYTES = 40, NO_NODE = 0 };

/* One directory; others are named by index, and 0 is none. */
struct memory_node {
    struct slice name;
    uint8_t stamp[STAMP_BYTES];
    uint32_t child, next, match;
};

struct memory_match {
    struct slice name;
    uint32_t next;
};

struct memory {
    uint8_t *data;
    struct memory_node *nodes;
    struct memory_match *matches;
    uint32_t node_count, match_count;
};

/* The root is node 1. False, and nothing to free, when it is not what `memory_begin` and the calls after it write. */
bool memory_parse(struct memory *m, uint8_t *data, size_t len, uint64_t key);
/* Reads the file; empty when there is none, or when somebody else could have written it. `key` stands for the patterns. */
void memory_load(struct memory *m, const char *path, uint64_t key);
void memory_free(struct memory *m);

/* Identity and times of a directory. Never equal to another when `fresh`: a change in the same tick of the clock would not show. */
void memory_stamp(uint8_t stamp[STAMP_BYTES], const struct k_statx *st, bool fresh);
bool memory_same(const struct memory_node *node, const struct k_statx *st);

/* Writing: the key, then each directory with its matches and directories inside it. False when memory is exhausted. */
bool memory_begin(struct buf *out, uint64_t key);
bool memory_open(struct buf *out, const uint8_t stamp[STAMP_BYTES], struct slice name);
bool memory_match(struct buf *out, struct slice name);
bool memory_close(struct buf *out);
/* Puts the file in its place at once. A failure costs time later and nothing else. */
void memory_store(const struct buf *out, const char *path);

#endif
