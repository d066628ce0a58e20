#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <time.h>

#include "fail.h"
#include "finish.h"
#include "glob.h"
#include "kernel.h"
#include "memory.h"
#include "placeholder.h"
#include "proto.h"
#include "resolve.h"

enum { DENTS = 32 * 1024, PATH_LIMIT = 60 * 1024, FLUSH_AT = 256 * 1024 };

/* getdents64(2) */
struct dent {
    uint64_t ino;
    int64_t off;
    uint16_t reclen;
    uint8_t type;
    char name[];
};

/* Patterns by the first byte of their last segment; those that begin with '*' stand in the row of '*'. */
struct pattern_rows {
    struct glob *globs;
    size_t count;
    uint32_t first[257]; /* row b is globs[first[b]] up to globs[first[b + 1]] */
};

struct scan {
    const struct finish_spec *spec;
    struct pattern_rows patterns;
    struct buf *out;
    int fd;
    struct scan_counts *counts;
    uint8_t *path; /* relative path of the entry at hand */
    size_t path_len;
    struct memory old;
    struct buf *memory; /* what the next scan may trust; NULL where a file system's times do not tell */
    int64_t settled;    /* nanoseconds since the epoch: directories that changed later may change again unseen */
};

/* A directory on the way down. */
struct level {
    int fd;
    uint32_t depth;
    uint32_t known;    /* the memory's node for it, NO_NODE when there is none */
    uint32_t expected; /* the node that the next directory inside it may be */
    bool whole;        /* every name in it was seen, and every directory was entered */
};

static bool row_matches(const struct pattern_rows *rows, uint8_t row, struct slice path, struct slice name) {
    for (uint32_t i = rows->first[row]; i < rows->first[row + 1]; i++)
        if (glob_matches(&rows->globs[i], path, name)) return true;
    return false;
}

/* Few names share their first byte with a pattern, so most are looked at no further. `wild`: patterns that begin with '*' may match here. */
static bool any_match(const struct scan *s, size_t name_len, bool wild) {
    struct slice path = {s->path, s->path_len}, name = {s->path + s->path_len - name_len, name_len};
    if (name.ptr[0] != '*' && row_matches(&s->patterns, name.ptr[0], path, name)) return true;
    return wild && row_matches(&s->patterns, '*', path, name);
}

/* Whether the row of '*' can match anything in the directory whose path, with a slash, was walked so far. */
static bool wild_here(struct scan *s) {
    const struct pattern_rows *rows = &s->patterns;
    for (uint32_t i = rows->first['*']; i < rows->first['*' + 1]; i++) {
        struct glob parents = rows->globs[i];
        parents.segments[parents.count - 1] = (struct slice){(const uint8_t *)"*", 1};
        if (glob_matches(&parents, (struct slice){s->path, s->path_len}, (struct slice){s->path + s->path_len, 0})) return true;
    }
    return false;
}

static bool recent(const struct scan *s, const struct k_statx *st) {
    if (st->ctime.sec != s->spec->since_sec) return st->ctime.sec > s->spec->since_sec;
    return st->ctime.nsec >= s->spec->since_nsec;
}

/* Another run's placeholder: nothing that the host could execute, and gone when that run ends. */
static bool is_placeholder(const struct k_statx *st) {
    struct stat plain = {.st_mode = st->mode, .st_size = (off_t)st->size};
    return marker_kind(&plain) == MARKER_LEAF || marker_kind(&plain) == MARKER_DOT;
}

static uint8_t type_of(uint16_t mode) {
    switch (mode & 0170000) {
    case 0100000: return EXPECT_FILE;
    case 0040000: return EXPECT_DIR;
    case 0120000: return EXPECT_SYMLINK;
    default: return EXPECT_ANY;
    }
}

static void report(struct scan *s, int dir, const char *name) {
    struct k_statx st;
    if (k_statx(dir, name, AT_SYMLINK_NOFOLLOW, &st) < 0 || !recent(s, &st) || is_placeholder(&st)) return;
    uint8_t type = type_of(st.mode);
    if (type == EXPECT_ANY) return;
    if (s->counts->results >= s->spec->max_results) {
        s->counts->truncated = true;
        return;
    }
    size_t mark;
    s->counts->results++;
    if (!frame_begin(s->out, F_APPEARED, 0, &mark) || !tlv_put(s->out, AP_PATH, s->path, s->path_len) ||
        !tlv_u8(s->out, AP_TYPE, type))
        fail_msg("scan", NULL, "out of memory");
    frame_end(s->out, mark);
    if (s->out->len < FLUSH_AT) return;
    if (!write_all(s->fd, buf_head(s->out), s->out->len)) fail_sys("write", NULL);
    buf_consume(s->out, s->out->len);
}

static void must(bool ok) {
    if (!ok) fail_msg("scan", NULL, "out of memory");
}

static bool at_limit(const struct scan *s) {
    return s->counts->truncated && s->counts->entries >= s->spec->max_entries;
}

static void cut_short(struct scan *s, struct level *at) {
    s->counts->truncated = true;
    at->whole = false;
}

/* False when the name does not fit: the scan is then cut short. Undone by `pop`. */
static bool push(struct scan *s, struct level *at, struct slice name) {
    if (s->path_len + name.len + 1 > PATH_LIMIT) {
        cut_short(s, at);
        return false;
    }
    memcpy(s->path + s->path_len, name.ptr, name.len);
    s->path_len += name.len;
    return true;
}

static void pop(struct scan *s, struct slice name) { s->path_len -= name.len; }

static void walk(struct scan *s, struct level *at, struct slice name);

/* Never across a mount or a symbolic link: openat2(2). What cannot be entered makes its parent one to read again next time. */
static void descend(struct scan *s, struct level *at, const char *name, uint32_t known) {
    if (at->depth >= s->spec->max_depth) {
        cut_short(s, at);
        return;
    }
    int fd = k_openat2(at->fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                       K_RESOLVE_NO_XDEV | K_RESOLVE_NO_SYMLINKS | K_RESOLVE_BENEATH);
    if (fd < 0) {
        at->whole = false;
        if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV || errno == ENOENT) return;
        s->counts->unreadable++;
        return;
    }
    struct level inside = {.fd = fd, .depth = at->depth + 1, .known = known, .whole = true};
    s->path[s->path_len++] = '/';
    walk(s, &inside, (struct slice){(const uint8_t *)name, strlen(name)});
    s->path_len--;
    close(fd);
}

/* The memory of a directory inside `at`; directories mostly come in the order of the last time. */
static uint32_t recall(const struct scan *s, struct level *at, struct slice name) {
    enum { LOOK_AHEAD = 64 };
    uint32_t node = at->expected;
    for (int i = 0; i < LOOK_AHEAD && node != NO_NODE; i++, node = s->old.nodes[node].next) {
        const struct memory_node *one = &s->old.nodes[node];
        if (one->name.len != name.len || memcmp(one->name.ptr, name.ptr, name.len) != 0) continue;
        at->expected = one->next;
        return node;
    }
    return NO_NODE;
}

static void visit(struct scan *s, struct level *at, const struct dent *entry, bool wild) {
    struct slice name = {(const uint8_t *)entry->name, strlen(entry->name)};
    if (name.len <= 2 && entry->name[0] == '.' && (name.len == 1 || entry->name[1] == '.')) return;
    if (s->counts->entries >= s->spec->max_entries) {
        cut_short(s, at);
        return;
    }
    if (!push(s, at, name)) return;
    s->counts->entries++;
    if (any_match(s, name.len, wild)) {
        if (s->memory != NULL) must(memory_match(s->memory, name));
        report(s, at->fd, entry->name);
    }
    if (entry->type == DT_DIR || entry->type == DT_UNKNOWN) descend(s, at, entry->name, recall(s, at, name));
    pop(s, name);
}

static void read_entries(struct scan *s, struct level *at) {
    uint8_t *dents = malloc(DENTS);
    must(dents != NULL);
    bool wild = wild_here(s);
    for (;;) {
        long n = syscall(SYS_getdents64, at->fd, dents, DENTS);
        if (n < 0) {
            /* ENOENT: it was removed after it was opened, as other runs do with their placeholders. */
            if (errno != ENOENT) s->counts->unreadable++;
            at->whole = false;
        }
        if (n <= 0) break;
        for (long i = 0; i < n;) {
            const struct dent *entry = (const struct dent *)(dents + i);
            visit(s, at, entry, wild);
            i += entry->reclen;
        }
        if (!at->whole && at_limit(s)) break;
    }
    free(dents);
}

/* Nothing to look at inside, and unchanged: not even opened. */
static bool skip_leaf(struct scan *s, const struct level *at, const struct memory_node *node, const char *name) {
    struct k_statx st;
    if (node->child != NO_NODE || node->match != 0) return false;
    if (k_statx(at->fd, name, AT_SYMLINK_NOFOLLOW, &st) < 0 || (st.mode & 0170000) != 0040000) return false;
    if ((st.attributes & K_STATX_ATTR_MOUNT_ROOT) != 0 || !memory_same(node, &st)) return false;
    must(memory_open(s->memory, node->stamp, node->name) && memory_close(s->memory));
    return true;
}

/* Its entries are those of the last time: what matched then may have been written to, and the directories may differ inside. */
static void remember_entries(struct scan *s, struct level *at) {
    char text[256];
    const struct memory_node *node = &s->old.nodes[at->known];
    for (uint32_t i = node->match; i != 0; i = s->old.matches[i].next) {
        struct slice name = s->old.matches[i].name;
        must(memory_match(s->memory, name));
        snprintf(text, sizeof text, "%.*s", (int)name.len, (const char *)name.ptr);
        if (!push(s, at, name)) continue;
        report(s, at->fd, text);
        pop(s, name);
    }
    for (uint32_t i = node->child; i != NO_NODE; i = s->old.nodes[i].next) {
        const struct memory_node *child = &s->old.nodes[i];
        snprintf(text, sizeof text, "%.*s", (int)child->name.len, (const char *)child->name.ptr);
        if (skip_leaf(s, at, child, text) || !push(s, at, child->name)) continue;
        descend(s, at, text, i);
        pop(s, child->name);
    }
}

static int64_t nanoseconds(int64_t sec, uint32_t nsec) { return sec * 1000000000 + nsec; }

/* `stamp` is taken before the directory is read: what changes meanwhile shows the next time. */
static void walk(struct scan *s, struct level *at, struct slice name) {
    struct k_statx st;
    uint8_t stamp[STAMP_BYTES];
    if (s->memory == NULL || k_statx(at->fd, "", K_AT_EMPTY_PATH, &st) < 0) {
        must(s->memory == NULL || (memory_open(s->memory, (const uint8_t[STAMP_BYTES]){0}, name)));
        read_entries(s, at);
        must(s->memory == NULL || memory_close(s->memory));
        return;
    }
    bool known = at->known != NO_NODE && memory_same(&s->old.nodes[at->known], &st);
    memory_stamp(stamp, &st, nanoseconds(st.ctime.sec, st.ctime.nsec) >= s->settled);
    size_t begin = s->memory->len;
    must(memory_open(s->memory, stamp, name));
    if (at->known != NO_NODE) at->expected = s->old.nodes[at->known].child;
    if (known) remember_entries(s, at);
    else read_entries(s, at);
    must(memory_close(s->memory));
    if (!at->whole) memset(buf_head(s->memory) + begin + TLV_HEADER, 0, STAMP_BYTES);
}

static uint8_t first_byte(const struct glob *g) { return g->segments[g->count - 1].ptr[0]; }

/* Sorts by first byte: a count, then a place for each. */
static void sort_patterns(struct pattern_rows *rows, const struct glob *globs) {
    uint32_t next[256];
    for (size_t i = 0; i < rows->count; i++) rows->first[first_byte(&globs[i]) + 1]++;
    for (size_t b = 0; b < 256; b++) {
        next[b] = rows->first[b];
        rows->first[b + 1] += rows->first[b];
    }
    for (size_t i = 0; i < rows->count; i++) rows->globs[next[first_byte(&globs[i])]++] = globs[i];
}

static void parse_globs(struct scan *s) {
    struct pattern_rows *rows = &s->patterns;
    rows->count = s->spec->patterns.count;
    rows->globs = calloc(rows->count + 1, sizeof *rows->globs);
    struct glob *globs = calloc(rows->count + 1, sizeof *globs);
    s->path = malloc(PATH_LIMIT + 2);
    if (rows->globs == NULL || globs == NULL || s->path == NULL) fail_msg("scan", NULL, "out of memory");
    for (size_t i = 0; i < rows->count; i++)
        if (!glob_parse(s->spec->patterns.items[i], &globs[i]))
            fail_msg("scan", s->spec->patterns.items[i], "malformed pattern");
    sort_patterns(rows, globs);
    free(globs);
}

/* File systems whose directories change their times with their entries, also seen from another mount: no network, no overlay. */
static bool times_tell(int root) {
    struct statfs fs;
    if (fstatfs(root, &fs) < 0) return false;
    switch ((uint32_t)fs.f_type) {
    case 0xef53:     /* ext4 */
    case 0x58465342: /* xfs */
    case 0x9123683e: /* btrfs */
    case 0x01021994: /* tmpfs */
        return true;
    default: return false;
    }
}

/* FNV-1a over the patterns, with their ends. */
static uint64_t patterns_key(const struct strings *patterns) {
    uint64_t key = 0xcbf29ce484222325;
    for (size_t i = 0; i < patterns->count; i++)
        for (const char *p = patterns->items[i];; p++) {
            key = (key ^ (uint8_t)*p) * 0x100000001b3;
            if (*p == '\0') break;
        }
    return key;
}

/* A memory is written when this many entries had to be read: fewer take a millisecond, a file takes about as long. */
enum { WORTH_KEEPING = 2000 };
/* Beyond the coarsest times there are, whole seconds (ext4 with small inodes), and a tick of the clock. */
enum { SETTLE_NS = 1100000000 };

static void begin_memory(struct scan *s, struct buf *memory, int root) {
    if (s->spec->memory == NULL || !times_tell(root)) return;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now) < 0) return;
    uint64_t key = patterns_key(&s->spec->patterns);
    s->settled = nanoseconds(now.tv_sec, (uint32_t)now.tv_nsec) - SETTLE_NS;
    s->memory = memory;
    memory_load(&s->old, s->spec->memory, key);
    must(memory_begin(memory, key));
}

void scan_tree(const struct finish_spec *spec, struct buf *out, int fd, struct scan_counts *counts, struct buf *memory) {
    fail_stage("scan");
    struct scan s = {.spec = spec, .out = out, .fd = fd, .counts = counts};
    parse_globs(&s);
    int root = k_openat2(AT_FDCWD, spec->scan_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, K_RESOLVE_NO_MAGICLINKS);
    if (root < 0) fail_sys("open", spec->scan_root);
    begin_memory(&s, memory, root);
    struct level top = {.fd = root, .known = s.old.node_count > 0 ? 1 : NO_NODE, .whole = true};
    walk(&s, &top, (struct slice){NULL, 0});
    close(root);
    if (counts->entries < WORTH_KEEPING) buf_consume(memory, memory->len);
    memory_free(&s.old);
    free(s.patterns.globs);
    free(s.path);
}
