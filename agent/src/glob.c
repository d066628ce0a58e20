#include "glob.h"

#include <string.h>

bool glob_parse(const char *text, struct glob *out) {
    *out = (struct glob){0};
    for (const char *p = text;;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || out->count == GLOB_SEGMENTS) return false;
        out->segments[out->count++] = (struct slice){(const uint8_t *)p, n};
        if (p[n] == '\0') return true;
        p += n + 1;
    }
}

/* Greedy with one fallback point: linear in practice, at worst the product of both lengths. */
bool glob_segment(struct slice pattern, struct slice name) {
    size_t p = 0, n = 0, star = SIZE_MAX, resume = 0;
    while (n < name.len) {
        if (p < pattern.len && pattern.ptr[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.len && pattern.ptr[p] == name.ptr[n]) {
            p++;
            n++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.len && pattern.ptr[p] == '*') p++;
    return p == pattern.len;
}

bool glob_matches(const struct glob *g, struct slice path, struct slice name) {
    if (!glob_segment(g->segments[g->count - 1], name)) return false;
    size_t end = path.len - name.len;
    for (size_t i = g->count - 1; i > 0; i--) {
        if (end == 0) return false;
        size_t begin = --end;
        while (begin > 0 && path.ptr[begin - 1] != '/') begin--;
        if (!glob_segment(g->segments[i - 1], (struct slice){path.ptr + begin, end - begin})) return false;
        end = begin;
    }
    return true;
}
