#include "memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io.h"

enum { M_KEY = 1, M_OPEN = 2, M_MATCH = 3, M_CLOSE = 4, DEPTH = 1024, FILE_LIMIT = 16 * 1024 * 1024 };

static void put_u64(uint8_t *at, uint64_t value) { memcpy(at, &value, sizeof value); }

void memory_stamp(uint8_t stamp[STAMP_BYTES], const struct k_statx *st, bool fresh) {
    memset(stamp, 0, STAMP_BYTES);
    if (fresh) return;
    put_u64(stamp, st->ino);
    put_u64(stamp + 8, (uint64_t)st->dev_major << 32 | st->dev_minor);
    put_u64(stamp + 16, (uint64_t)st->ctime.sec);
    put_u64(stamp + 24, (uint64_t)st->mtime.sec);
    put_u64(stamp + 32, (uint64_t)st->ctime.nsec << 32 | st->mtime.nsec);
}

bool memory_same(const struct memory_node *node, const struct k_statx *st) {
    uint8_t now[STAMP_BYTES];
    memory_stamp(now, st, false);
    return memcmp(node->stamp, now, STAMP_BYTES) == 0;
}

bool memory_begin(struct buf *out, uint64_t key) { return tlv_u64(out, M_KEY, key); }

bool memory_open(struct buf *out, const uint8_t stamp[STAMP_BYTES], struct slice name) {
    uint8_t both[STAMP_BYTES + 256];
    if (name.len > 255) return false;
    memcpy(both, stamp, STAMP_BYTES);
    if (name.len > 0) memcpy(both + STAMP_BYTES, name.ptr, name.len);
    return tlv_put(out, M_OPEN, both, STAMP_BYTES + name.len);
}

bool memory_match(struct buf *out, struct slice name) { return tlv_put(out, M_MATCH, name.ptr, name.len); }

bool memory_close(struct buf *out) { return tlv_put(out, M_CLOSE, "", 0); }

/* A name is used as a path below a directory's descriptor. */
static bool is_name(struct slice name) {
    if (name.len == 0 || name.len > 255 || memchr(name.ptr, '/', name.len) != NULL) return false;
    if (memchr(name.ptr, 0, name.len) != NULL) return false;
    return !(name.ptr[0] == '.' && (name.len == 1 || (name.len == 2 && name.ptr[1] == '.')));
}

/* The directories that are open while parsing, and the last one closed in each. */
struct parsing {
    struct memory *m;
    uint32_t depth, open[DEPTH], last[DEPTH];
};

static bool parse_open(struct parsing *p, struct slice value) {
    struct memory *m = p->m;
    if (value.len < STAMP_BYTES || p->depth == DEPTH || (p->depth == 0 && m->node_count > 0)) return false;
    struct slice name = {value.ptr + STAMP_BYTES, value.len - STAMP_BYTES};
    if (p->depth == 0 ? name.len > 0 : !is_name(name)) return false;
    uint32_t index = ++m->node_count;
    m->nodes[index] = (struct memory_node){.name = name};
    memcpy(m->nodes[index].stamp, value.ptr, STAMP_BYTES);
    if (p->depth > 0) {
        uint32_t before = p->last[p->depth - 1];
        if (before == NO_NODE) m->nodes[p->open[p->depth - 1]].child = index;
        else m->nodes[before].next = index;
        p->last[p->depth - 1] = index;
    }
    p->open[p->depth] = index;
    p->last[p->depth++] = NO_NODE;
    return true;
}

static bool parse_match(struct parsing *p, struct slice name) {
    if (p->depth == 0 || !is_name(name)) return false;
    struct memory_node *node = &p->m->nodes[p->open[p->depth - 1]];
    uint32_t index = ++p->m->match_count;
    p->m->matches[index] = (struct memory_match){name, node->match};
    node->match = index;
    return true;
}

static bool parse_one(struct parsing *p, const struct tlv *t) {
    switch (t->tag) {
    case M_OPEN: return parse_open(p, t->value);
    case M_MATCH: return parse_match(p, t->value);
    case M_CLOSE: return t->value.len == 0 && p->depth-- > 0;
    default: return false;
    }
}

static bool parse_all(struct memory *m, struct slice rest, uint64_t key) {
    struct parsing p = {.m = m};
    struct tlv t;
    if (tlv_next(&rest, &t) != 1 || t.tag != M_KEY || t.value.len != 8 || get_u64(t.value.ptr) != key) return false;
    int more;
    while ((more = tlv_next(&rest, &t)) == 1)
        if (!parse_one(&p, &t)) return false;
    return more == 0 && p.depth == 0 && m->node_count > 0;
}

bool memory_parse(struct memory *m, uint8_t *data, size_t len, uint64_t key) {
    /* No record is shorter than its head; the first element of each array stands for none. */
    size_t most = len / TLV_HEADER + 2;
    *m = (struct memory){.data = data};
    m->nodes = calloc(most, sizeof *m->nodes);
    m->matches = calloc(most, sizeof *m->matches);
    if (m->nodes != NULL && m->matches != NULL && parse_all(m, (struct slice){data, len}, key)) return true;
    memory_free(m);
    return false;
}

static bool is_ours(const struct stat *st) {
    return S_ISREG(st->st_mode) && st->st_uid == geteuid() && (st->st_mode & 077) == 0 && st->st_size <= FILE_LIMIT;
}

void memory_load(struct memory *m, const char *path, uint64_t key) {
    struct stat st;
    *m = (struct memory){0};
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return;
    uint8_t *data = NULL;
    if (fstat(fd, &st) == 0 && is_ours(&st)) data = malloc((size_t)st.st_size + 1);
    if (data != NULL && !read_all(fd, data, (size_t)st.st_size)) {
        free(data);
        data = NULL;
    }
    close(fd);
    if (data != NULL) memory_parse(m, data, (size_t)st.st_size, key);
}

void memory_free(struct memory *m) {
    free(m->data);
    free(m->nodes);
    free(m->matches);
    *m = (struct memory){0};
}

void memory_store(const struct buf *out, const char *path) {
    char draft[4096];
    int n = snprintf(draft, sizeof draft, "%s.%d", path, (int)getpid());
    if (n < 0 || (size_t)n >= sizeof draft || out->len > FILE_LIMIT) return;
    int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) return;
    bool ok = write_all(fd, buf_head(out), out->len);
    close(fd);
    if (!ok || rename(draft, path) < 0) unlink(draft);
}
