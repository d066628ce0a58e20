/* A tree becomes a stream of records. While it is written the sandbox may change every part of it, and may have made it to do harm. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copied.h"
#include "io.h"
#include "proto.h"

enum { OUTPUT_BYTES = 64 * 1024, PIECE_BYTES = 32 * 1024, NANO = 1000000000 };

struct output {
    const struct copied *copied;
    bool whole;
    size_t len;
    uint8_t data[OUTPUT_BYTES];
};

static bool flush(struct output *out) {
    size_t len = out->len;
    out->len = 0;
    return write_all(out->copied->port, out->data, len);
}

static bool put(struct output *out, const void *data, size_t len) {
    if (len > sizeof out->data - out->len && !flush(out)) return false;
    memcpy(out->data + out->len, data, len);
    out->len += len;
    return true;
}

static void put_number(uint8_t *p, uint64_t value, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) p[i] = (uint8_t)(value >> (8 * i));
}

/* `st` may be NULL: a record without mode and time. */
static bool put_record(struct output *out, uint8_t kind, uint8_t detail, const struct stat *st, const char *name) {
    uint8_t head[TREE_HEAD] = {kind, detail};
    size_t len = strlen(name);
    if (st != NULL) {
        put_number(head + 2, st->st_mode & 07777, 2);
        put_number(head + 4, (uint64_t)st->st_mtim.tv_sec * NANO + (uint64_t)st->st_mtim.tv_nsec, 8);
    }
    put_number(head + 12, len, 2);
    return put(out, head, sizeof head) && put(out, name, len);
}

static bool put_other(struct output *out, uint8_t why, const char *name) { return put_record(out, TREE_OTHER, why, NULL, name); }

/* As much as it was when it was opened: it may grow for as long as it is read. */
static bool put_content(struct output *out, int fd, uint64_t size) {
    static uint8_t piece[PIECE_BYTES];
    static const uint8_t end[4];
    uint8_t head[4];
    while (size > 0) {
        ssize_t n = read(fd, piece, size < sizeof piece ? (size_t)size : sizeof piece);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        put_number(head, (uint64_t)n, sizeof head);
        if (!put(out, head, sizeof head) || !put(out, piece, (size_t)n)) return false;
        size -= (uint64_t)n;
    }
    return put(out, end, sizeof end);
}

static bool put_file(struct output *out, int dir, const char *name) {
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return put_other(out, OTHER_UNREADABLE, name);
    bool ok;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) ok = put_other(out, OTHER_SPECIAL, name);
    /* One with holes may say any size. */
    else if ((uint64_t)st.st_size > out->copied->bytes) ok = put_other(out, OTHER_LARGE, name);
    else ok = put_record(out, TREE_FILE, 0, &st, name) && put_content(out, fd, (uint64_t)st.st_size);
    close(fd);
    return ok;
}

static bool put_link(struct output *out, int dir, const struct stat *st, const char *name) {
    static char target[TREE_TARGET_MAX + 1];
    uint8_t head[2];
    ssize_t len = readlinkat(dir, name, target, sizeof target);
    if (len < 0 || len > TREE_TARGET_MAX) return put_other(out, OTHER_UNREADABLE, name);
    put_number(head, (uint64_t)len, sizeof head);
    return put_record(out, TREE_LINK, 0, st, name) && put(out, head, sizeof head) && put(out, target, (size_t)len);
}

static bool put_entries(struct output *out, int dir, uint64_t path, int depth);

static bool put_dir(struct output *out, int dir, const char *name, uint64_t path, int depth) {
    struct stat st;
    if (depth >= TREE_DEPTH_MAX) return put_other(out, OTHER_DEEP, name);
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return put_other(out, OTHER_UNREADABLE, name);
    if (fstat(fd, &st) < 0 || !put_record(out, TREE_DIR, 0, &st, name)) {
        close(fd);
        return false;
    }
    return put_entries(out, fd, path, depth + 1) && put_record(out, TREE_UP, 0, NULL, "");
}

static bool put_entry(struct output *out, int dir, const char *name, uint64_t path, int depth) {
    struct stat st;
    /* Gone since it was listed. */
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return true;
    uint64_t below = tree_path(path, name);
    if (S_ISDIR(st.st_mode)) return put_dir(out, dir, name, below, depth);
    if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode)) return put_other(out, OTHER_SPECIAL, name);
    if (!out->whole && copied_is_same(out->copied, st.st_ino, below, &st.st_ctim)) return put_record(out, TREE_SAME, 0, NULL, name);
    return S_ISREG(st.st_mode) ? put_file(out, dir, name) : put_link(out, dir, &st, name);
}

/* Closes `dir`. */
static bool put_entries(struct output *out, int dir, uint64_t path, int depth) {
    DIR *list = fdopendir(dir);
    if (list == NULL) {
        close(dir);
        return false;
    }
    bool ok = true;
    for (struct dirent *entry; ok && (entry = readdir(list)) != NULL;) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) ok = put_entry(out, dir, name, path, depth);
    }
    int saved = errno;
    closedir(list);
    errno = saved;
    return ok;
}

bool copied_give(const struct copied *c, bool whole, bool last) {
    static struct output out;
    static const char tree[] = "0";
    out = (struct output){.copied = c, .whole = whole};
    int fd = openat(c->root, tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return false;
    if (!put_record(&out, TREE_BEGIN, last ? 1 : 0, NULL, "")) {
        close(fd);
        return false;
    }
    return put_entries(&out, fd, tree_path(TREE_TOP, tree), 0) && put_record(&out, TREE_END, 0, NULL, "") && flush(&out);
}
