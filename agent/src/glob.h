/* Names that matter: patterns of trailing path segments, `*` inside a segment only. */
#ifndef GLOVEBOX_GLOB_H
#define GLOVEBOX_GLOB_H

#include "io.h"

enum { GLOB_SEGMENTS = 8 };

struct glob {
    size_t count;
    struct slice segments[GLOB_SEGMENTS]; /* the last one is for the name itself */
};

/* False when a pattern has an empty segment or too many. */
bool glob_parse(const char *text, struct glob *out);
/* One segment against one name. */
bool glob_segment(struct slice pattern, struct slice name);
/* `path` is relative with '/' between segments and ends with `name`; its trailing segments must match all of the pattern's. */
bool glob_matches(const struct glob *g, struct slice path, struct slice name);

#endif
