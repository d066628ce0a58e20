/* What happens when a run is over, outside the jail. */
#ifndef GLOVEBOX_FINISH_H
#define GLOVEBOX_FINISH_H

#include "spec.h"

struct release_counts {
    uint32_t removed, kept, adopted;
};

/* Removes the placeholders that nobody uses, then their empty parents. */
void release_placeholders(const struct finish_spec *spec, struct release_counts *counts);

struct scan_counts {
    uint64_t entries;
    uint32_t results, unreadable;
    bool truncated;
};

/*
 * Appends an APPEARED frame to `out` for each name that matches and changed since; writes it to `fd` when it grows. `memory` gets
 * what the next scan of the same tree can use, and stays empty when that is nothing.
 */
void scan_tree(const struct finish_spec *spec, struct buf *out, int fd, struct scan_counts *counts, struct buf *memory);

#endif
