/* Trees that are copied into a machine and back: the stream on one side, a directory on the other. Linked with unit.c. */
#include "../src/copied.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/proto.h"
#include "../src/wire.h"
#include "unit.h"

enum { STREAM_BYTES = 8192 };

struct stream {
    uint8_t data[STREAM_BYTES];
    size_t len;
};

static void put_bytes(struct stream *s, const void *data, size_t len) {
    memcpy(s->data + s->len, data, len);
    s->len += len;
}

static void put_record(struct stream *s, uint8_t kind, const char *name) {
    uint8_t head[TREE_HEAD] = {kind, 0, 0xed, 1}; /* mode 0755 */
    head[4] = 1;                                  /* a nanosecond after the epoch */
    head[12] = (uint8_t)strlen(name);
    put_bytes(s, head, sizeof head);
    put_bytes(s, name, strlen(name));
}

static void put_file(struct stream *s, const char *name, const char *text) {
    uint8_t head[4] = {(uint8_t)strlen(text)};
    put_record(s, TREE_FILE, name);
    if (*text != '\0') put_bytes(s, head, sizeof head);
    put_bytes(s, text, strlen(text));
    head[0] = 0;
    put_bytes(s, head, sizeof head);
}

/* A directory of its own below /tmp, which the caller names again to remove it. */
static struct copied begin(char *place) {
    strcpy(place, "/tmp/gbx-copied-XXXXXX");
    CHECK(mkdtemp(place) != NULL);
    struct copied c = {.port = -1, .bytes = 1 << 20};
    c.root = open(place, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(c.root >= 0);
    return c;
}

static void finish(struct copied *c, const char *place) {
    char command[64];
    close(c->root);
    free(c->seals);
    snprintf(command, sizeof command, "rm -rf %s", place);
    CHECK(system(command) == 0);
}

/* The stream as a file, from its beginning. */
static int port_with(const struct stream *s) {
    FILE *file = tmpfile();
    CHECK(file != NULL && (s->len == 0 || fwrite(s->data, s->len, 1, file) == 1) && fflush(file) == 0);
    int fd = dup(fileno(file));
    fclose(file);
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    return fd;
}

static const char *take(struct copied *c, const struct stream *s) {
    c->port = port_with(s);
    const char *problem = copied_take(c, getuid(), getgid());
    close(c->port);
    return problem;
}

/* What `copied_give` writes. */
static struct stream give(struct copied *c, bool whole) {
    struct stream out = {0};
    c->port = port_with(&out);
    CHECK(copied_give(c, whole, false) && lseek(c->port, 0, SEEK_SET) == 0);
    ssize_t n = read(c->port, out.data, sizeof out.data);
    CHECK(n > 0);
    out.len = n > 0 ? (size_t)n : 0;
    close(c->port);
    return out;
}

/* Whether the stream has this kind of record with this name. */
static bool holds(const struct stream *s, uint8_t kind, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i + TREE_HEAD + len <= s->len; i++)
        if (s->data[i] == kind && get_u16(s->data + i + 12) == len && memcmp(s->data + i + TREE_HEAD, name, len) == 0) return true;
    return false;
}

static struct stream example(void) {
    struct stream s = {0};
    put_record(&s, TREE_DIR, "0");
    put_file(&s, "kept", "one");
    put_file(&s, "changed", "two");
    put_record(&s, TREE_DIR, "sub");
    put_file(&s, "moved", "three");
    put_record(&s, TREE_UP, "");
    put_record(&s, TREE_LINK, "link");
    put_bytes(&s, "\4\0kept", 6);
    put_record(&s, TREE_UP, "");
    put_record(&s, TREE_END, "");
    return s;
}

static void test_round(void) {
    char place[32];
    struct copied c = begin(place);
    struct stream in = example();
    struct stat st;
    CHECK(take(&c, &in) == NULL && c.count == 4);
    CHECK(fstatat(c.root, "0/sub/moved", &st, 0) == 0 && st.st_size == 5 && (st.st_mode & 07777) == 0755 && st.st_mtim.tv_nsec == 1);
    CHECK(fstatat(c.root, "0/link", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode));
    CHECK(clock_gettime(CLOCK_REALTIME, &c.sealed) == 0);
    usleep(20000);
    int fd = openat(c.root, "0/changed", O_WRONLY | O_APPEND);
    CHECK(fd >= 0 && write(fd, "!", 1) == 1 && close(fd) == 0);
    /* What lies in a directory of another name has another path, and is as old as it was. */
    CHECK(renameat(c.root, "0/sub", c.root, "0/other") == 0);
    CHECK(mkfifoat(c.root, "0/pipe", 0600) == 0);
    struct stream out = give(&c, false);
    CHECK(holds(&out, TREE_SAME, "kept") && holds(&out, TREE_SAME, "link") && holds(&out, TREE_FILE, "changed"));
    CHECK(holds(&out, TREE_DIR, "other") && holds(&out, TREE_FILE, "moved") && holds(&out, TREE_OTHER, "pipe"));
    CHECK(!holds(&out, TREE_DIR, "sub") && !holds(&out, TREE_FILE, "kept") && holds(&out, TREE_END, ""));
    out = give(&c, true);
    CHECK(holds(&out, TREE_FILE, "kept") && holds(&out, TREE_LINK, "link") && !holds(&out, TREE_SAME, "kept"));
    /* One with holes may say any size. */
    fd = openat(c.root, "0/changed", O_WRONLY);
    CHECK(fd >= 0 && ftruncate(fd, 1 << 21) == 0 && close(fd) == 0);
    out = give(&c, false);
    CHECK(holds(&out, TREE_OTHER, "changed"));
    finish(&c, place);
}

static void test_malformed(void) {
    static const char *const names[] = {"..", ".", "a/b", ""};
    char place[32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct copied c = begin(place);
        struct stream s = {0};
        put_record(&s, TREE_DIR, names[i]);
        CHECK(take(&c, &s) != NULL);
        finish(&c, place);
    }
    struct stream whole = example();
    for (size_t len = 0; len < whole.len; len++) {
        struct copied c = begin(place);
        struct stream cut = whole;
        cut.len = len;
        CHECK(take(&c, &cut) != NULL);
        finish(&c, place);
        /* Removing a directory takes longer than all else here. */
        len += len > 40 ? 13 : 0;
    }
    struct copied c = begin(place);
    struct stream more = whole;
    put_record(&more, TREE_END, "");
    CHECK(take(&c, &more) != NULL);
    finish(&c, place);
}

void test_copied(void) {
    test_round();
    test_malformed();
}
