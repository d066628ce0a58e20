#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"
#include "finish.h"
#include "glob.h"
#include "kernel.h"
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

struct scan {
    const struct finish_spec *spec;
    struct glob *globs;
    size_t glob_count;
    struct buf *out;
    int fd;
    struct scan_counts *counts;
    uint8_t *path; /* relative path of the entry at hand */
    size_t path_len;
};

static bool any_match(const struct scan *s, size_t name_len) {
    struct slice path = {s->path, s->path_len}, name = {s->path + s->path_len - name_len, name_len};
    for (size_t i = 0; i < s->glob_count; i++)
        if (glob_matches(&s->globs[i], path, name)) return true;
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

static void walk(struct scan *s, int dir, uint32_t depth);

/* Never across a mount or a symbolic link: openat2(2). Consumes nothing. */
static void descend(struct scan *s, int dir, const char *name, uint32_t depth) {
    if (depth >= s->spec->max_depth) {
        s->counts->truncated = true;
        return;
    }
    int fd = k_openat2(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                       K_RESOLVE_NO_XDEV | K_RESOLVE_NO_SYMLINKS | K_RESOLVE_BENEATH);
    if (fd < 0) {
        if (errno == ENOTDIR || errno == ELOOP || errno == EXDEV || errno == ENOENT) return;
        s->counts->unreadable++;
        return;
    }
    s->path[s->path_len++] = '/';
    walk(s, fd, depth + 1);
    s->path_len--;
    close(fd);
}

static void visit(struct scan *s, int dir, const struct dent *entry, uint32_t depth) {
    size_t n = strlen(entry->name);
    if (s->counts->truncated && s->counts->entries >= s->spec->max_entries) return;
    if (n <= 2 && entry->name[0] == '.' && (n == 1 || entry->name[1] == '.')) return;
    if (s->counts->entries >= s->spec->max_entries || s->path_len + n + 1 > PATH_LIMIT) {
        s->counts->truncated = true;
        return;
    }
    s->counts->entries++;
    memcpy(s->path + s->path_len, entry->name, n);
    s->path_len += n;
    if (any_match(s, n)) report(s, dir, entry->name);
    if (entry->type == DT_DIR || entry->type == DT_UNKNOWN) descend(s, dir, entry->name, depth);
    s->path_len -= n;
}

static void walk(struct scan *s, int dir, uint32_t depth) {
    uint8_t *dents = malloc(DENTS);
    if (dents == NULL) fail_msg("scan", NULL, "out of memory");
    for (;;) {
        long n = syscall(SYS_getdents64, dir, dents, DENTS);
        if (n < 0) s->counts->unreadable++;
        if (n <= 0) break;
        for (long at = 0; at < n;) {
            const struct dent *entry = (const struct dent *)(dents + at);
            visit(s, dir, entry, depth);
            at += entry->reclen;
        }
        if (s->counts->truncated && s->counts->entries >= s->spec->max_entries) break;
    }
    free(dents);
}

static void parse_globs(struct scan *s) {
    s->glob_count = s->spec->patterns.count;
    s->globs = calloc(s->glob_count + 1, sizeof *s->globs);
    s->path = malloc(PATH_LIMIT + 2);
    if (s->globs == NULL || s->path == NULL) fail_msg("scan", NULL, "out of memory");
    for (size_t i = 0; i < s->glob_count; i++)
        if (!glob_parse(s->spec->patterns.items[i], &s->globs[i]))
            fail_msg("scan", s->spec->patterns.items[i], "malformed pattern");
}

void scan_tree(const struct finish_spec *spec, struct buf *out, int fd, struct scan_counts *counts) {
    fail_stage("scan");
    struct scan s = {.spec = spec, .out = out, .fd = fd, .counts = counts};
    parse_globs(&s);
    int root = k_openat2(AT_FDCWD, spec->scan_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC, K_RESOLVE_NO_MAGICLINKS);
    if (root < 0) fail_sys("open", spec->scan_root);
    walk(&s, root, 0);
    close(root);
    free(s.globs);
    free(s.path);
}
