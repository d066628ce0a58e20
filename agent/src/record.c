/* Records of a work stream, gathered and written to the agent's pipe. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "work.h"

enum { FLUSH_AT = 32 * 1024, ENTRY_HEAD = 40 };

void put_le(uint8_t *p, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(value >> (8 * i));
}

struct slice slice_of(const char *text) { return (struct slice){(const uint8_t *)text, strlen(text)}; }

bool record_flush(struct worker *w) {
    while (w->queue.len > 0) {
        if (work_stopped(w)) return false;
        ssize_t n = write(w->out, buf_head(&w->queue), w->queue.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return work_fail(w, "write");
        buf_consume(&w->queue, (size_t)n);
    }
    return true;
}

bool record_put(struct worker *w, uint16_t tag, const void *head, size_t head_len, struct slice first, struct slice second) {
    uint8_t tlv[TLV_HEADER];
    put_le(tlv, tag, 2);
    put_le(tlv + 2, head_len + first.len + second.len, 4);
    struct buf *q = &w->queue;
    if (!buf_put(q, tlv, sizeof tlv) || !buf_put(q, head, head_len) || !buf_put(q, first.ptr, first.len) ||
        !buf_put(q, second.ptr, second.len))
        return work_fail_with(w, "memory", ENOMEM);
    return q->len < FLUSH_AT || record_flush(w);
}

static uint8_t entry_type(mode_t mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return ENTRY_FILE;
    case S_IFDIR: return ENTRY_DIR;
    case S_IFLNK: return ENTRY_SYMLINK;
    case S_IFIFO: return ENTRY_FIFO;
    case S_IFSOCK: return ENTRY_SOCKET;
    case S_IFCHR: return ENTRY_CHAR;
    default: return ENTRY_BLOCK;
    }
}

/* u8 type, u8 type that a link leads to (0 none), u16 path length, u16 target length, u16 0, u32 mode, uid, gid, nanoseconds, u64 size, i64 mtime */
bool entry_encode(struct buf *out, int dir, const char *name, const struct stat *st, struct slice path) {
    char target[PATH_MAX];
    struct stat led;
    ssize_t n = 0;
    uint8_t head[ENTRY_HEAD] = {entry_type(st->st_mode)};
    if (S_ISLNK(st->st_mode)) {
        n = readlinkat(dir, name, target, sizeof target);
        if (n < 0) n = 0;
        if (fstatat(dir, name, &led, 0) == 0) head[1] = entry_type(led.st_mode);
    }
    put_le(head + 2, path.len, 2);
    put_le(head + 4, (uint64_t)n, 2);
    put_le(head + 8, st->st_mode & 07777, 4);
    put_le(head + 12, st->st_uid, 4);
    put_le(head + 16, st->st_gid, 4);
    put_le(head + 20, (uint64_t)st->st_mtim.tv_nsec, 4);
    put_le(head + 24, (uint64_t)st->st_size, 8);
    put_le(head + 32, (uint64_t)st->st_mtim.tv_sec, 8);
    return buf_put(out, head, sizeof head) && buf_put(out, path.ptr, path.len) && buf_put(out, target, (size_t)n);
}
