/* Unit tests of what needs no sandbox. Built with ASan and UBSan by agent/test.sh. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/glob.h"
#include "../src/memory.h"
#include "../src/placeholder.h"
#include "../src/proto.h"
#include "../src/spec.h"
#include "unit.h"

static int passed, failed;

void check(bool ok, const char *what, const char *file, int line) {
    if (ok) passed++;
    else {
        failed++;
        fprintf(stderr, "%s:%d: %s\n", file, line, what);
    }
}

static void test_frames(void) {
    struct buf b = {0};
    struct frame f;
    size_t mark;
    CHECK(frame_begin(&b, F_STDOUT, 7, &mark) && buf_put(&b, "hello", 5));
    frame_end(&b, mark);
    CHECK(b.len == FRAME_HEADER + 5);
    CHECK(frame_decode(buf_head(&b), &f) && f.length == 5 && f.type == F_STDOUT && f.stream == 7);
    uint8_t head[FRAME_HEADER] = {0};
    head[4] = 3, head[5] = 2; /* F_STDIN */
    head[2] = 1;              /* 65536 bytes */
    CHECK(frame_decode(head, &f));
    head[0] = 1;
    CHECK(!frame_decode(head, &f));
    head[4] = 1; /* F_EXEC may be larger */
    CHECK(frame_decode(head, &f));
    head[3] = 1, head[2] = 0; /* 16 MiB and one byte */
    CHECK(!frame_decode(head, &f));
    head[0] = 0;
    CHECK(frame_decode(head, &f));
    head[6] = 1;
    CHECK(!frame_decode(head, &f));
    buf_free(&b);
}

static void test_queue(void) {
    struct buf b = {0};
    char chunk[1000];
    size_t put = 0, taken = 0;
    for (int round = 0; round < 200; round++) {
        for (size_t i = 0; i < sizeof chunk; i++) chunk[i] = (char)((put + i) * 31);
        CHECK(buf_put(&b, chunk, sizeof chunk));
        put += sizeof chunk;
        size_t n = b.len < 777 ? b.len : 777;
        bool same = true;
        for (size_t i = 0; i < n; i++) same = same && buf_head(&b)[i] == (uint8_t)((taken + i) * 31);
        CHECK(same);
        buf_consume(&b, n);
        taken += n;
    }
    CHECK(b.len == put - taken && b.cap < 200000);
    buf_consume(&b, b.len);
    CHECK(b.start == 0);
    buf_free(&b);
}

static void test_tlv(void) {
    struct buf b = {0};
    struct tlv t;
    uint32_t number = 0;
    CHECK(tlv_u32(&b, 1, 0xdeadbeef) && tlv_u64(&b, 2, 1) && tlv_str(&b, 3, "x") && tlv_u8(&b, 4, 9));
    struct slice rest = {buf_head(&b), b.len};
    CHECK(tlv_next(&rest, &t) == 1 && t.tag == 1 && slice_u32(t.value, &number) && number == 0xdeadbeef);
    CHECK(tlv_next(&rest, &t) == 1 && t.tag == 2 && t.value.len == 8 && get_u64(t.value.ptr) == 1);
    CHECK(!slice_u32(t.value, &number));
    CHECK(tlv_next(&rest, &t) == 1 && t.value.len == 1);
    CHECK(tlv_next(&rest, &t) == 1 && tlv_next(&rest, &t) == 0);
    for (size_t cut = 1; cut < b.len; cut++) {
        struct slice part = {buf_head(&b), cut};
        int more;
        while ((more = tlv_next(&part, &t)) == 1) continue;
        CHECK(more == -1 || cut == 10 || cut == 24 || cut == 31);
    }
    buf_free(&b);
}

static void test_windows(void) {
    uint32_t w = STREAM_WINDOW;
    CHECK(window_take(&w, STREAM_WINDOW) && w == 0);
    CHECK(!window_take(&w, 1));
    CHECK(window_give(&w, 10, STREAM_WINDOW) && w == 10);
    CHECK(!window_give(&w, STREAM_WINDOW, STREAM_WINDOW));
    CHECK(!window_give(&w, 0xffffffff, STREAM_WINDOW) && w == 10);
    CHECK(window_give(&w, STREAM_WINDOW - 10, STREAM_WINDOW) && w == STREAM_WINDOW);
}

static void test_paths(void) {
    CHECK(path_is_plain("a") && path_is_plain("a/b.c/...") && path_is_plain(".git/hooks"));
    CHECK(!path_is_plain("") && !path_is_plain("/a") && !path_is_plain("a/") && !path_is_plain("a//b"));
    CHECK(!path_is_plain(".") && !path_is_plain("a/../b") && !path_is_plain("a/.") && !path_is_plain(".."));
}

static bool glob(const char *pattern, const char *path) {
    struct glob g;
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;
    return glob_parse(pattern, &g) && glob_matches(&g, (struct slice){(const uint8_t *)path, strlen(path)},
                                                   (struct slice){(const uint8_t *)name, strlen(name)});
}

static void test_globs(void) {
    CHECK(glob("Makefile", "Makefile") && glob("Makefile", "a/b/Makefile") && !glob("Makefile", "Makefile2"));
    CHECK(glob(".git/hooks/*", "x/.git/hooks/pre-commit") && !glob(".git/hooks/*", ".git/hooks/a/b"));
    CHECK(!glob(".git/config", "config") && !glob(".git/config", "x.git/config") && glob(".git/config", ".git/config"));
    CHECK(glob("*.des*op", "a/foo.desktop") && !glob("*.des*op", "foo.desktopx") && glob("**", "x") && glob("a*", "a"));
    CHECK(glob("*a*a*a*b", "aaaaaaaaaaaaaaaab") && !glob("*a*a*a*b", "aaaaaaaaaaaaaaaaa"));
    struct glob g;
    CHECK(!glob_parse("", &g) && !glob_parse("a//b", &g) && !glob_parse("a/b/c/d/e/f/g/h/i", &g));
}

static void test_specs(void) {
    struct buf b = {0};
    struct exec_spec exec;
    CHECK(tlv_str(&b, X_ARGV, "sh") && tlv_str(&b, X_ARGV, "") && tlv_str(&b, X_CWD, "/"));
    CHECK(exec_parse((struct slice){buf_head(&b), b.len}, &exec) == NULL);
    CHECK(exec.argv.count == 2 && exec.argv.items[2] == NULL && exec.stdio[1] == STDIO_PIPE);
    arena_free(&exec.arena);
    CHECK(tlv_put(&b, X_ARGV, "a\0b", 3));
    CHECK(exec_parse((struct slice){buf_head(&b), b.len}, &exec) != NULL);
    arena_free(&exec.arena);
    buf_consume(&b, b.len);
    struct boot_spec boot;
    CHECK(tlv_u8(&b, B_MODE, MODE_SERVE));
    CHECK(boot_parse((struct slice){buf_head(&b), b.len}, &boot) == NULL);
    arena_free(&boot.arena);
    CHECK(tlv_u8(&b, 99, 1));
    CHECK(strcmp(boot_parse((struct slice){buf_head(&b), b.len}, &boot), "unknown tag") == 0);
    arena_free(&boot.arena);
    buf_free(&b);
}

static void test_markers(void) {
    char dir[] = "/tmp/glovebox-unit-XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    int parent = open(dir, O_PATH | O_DIRECTORY);
    mode_t before = umask(0);
    CHECK(mkdirat(parent, "leaf", MARKER_LEAF) == 0 && mkdirat(parent, "plain", 0700) == 0);
    umask(before);
    struct stat st;
    CHECK(fstatat(parent, "leaf", &st, 0) == 0 && marker_kind(&st) == MARKER_LEAF);
    CHECK(fstatat(parent, "plain", &st, 0) == 0 && marker_kind(&st) == 0);
    int held = openat(parent, "leaf", O_RDONLY | O_DIRECTORY);
    CHECK(flock(held, LOCK_SH) == 0);
    CHECK(placeholder_release(parent, "leaf", NULL) == -1);
    close(held);
    CHECK(placeholder_release(parent, "plain", NULL) == 0 && placeholder_release(parent, "absent", NULL) == 0);
    CHECK(placeholder_release(parent, "leaf", NULL) == 1 && placeholder_release(parent, "leaf", NULL) == 0);
    unlinkat(parent, "plain", AT_REMOVEDIR);
    close(parent);
    CHECK(rmdir(dir) == 0);
}

static struct slice text(const char *t) { return (struct slice){(const uint8_t *)t, strlen(t)}; }

/* memory_parse owns what it gets. */
static bool parsed(struct memory *m, const struct buf *b, uint64_t key) {
    uint8_t *copy = malloc(b->len);
    memcpy(copy, buf_head(b), b->len);
    return memory_parse(m, copy, b->len, key);
}

static void test_memory(void) {
    struct buf b = {0};
    struct memory m;
    struct k_statx st = {.ino = 7, .dev_minor = 3, .ctime = {.sec = 100, .nsec = 5}, .mtime = {.sec = 90, .nsec = 6}};
    uint8_t stamp[STAMP_BYTES], fresh[STAMP_BYTES];
    memory_stamp(stamp, &st, false);
    memory_stamp(fresh, &st, true);
    CHECK(memory_begin(&b, 42) && memory_open(&b, stamp, text("")) && memory_match(&b, text("Makefile")));
    CHECK(memory_open(&b, fresh, text("src")) && memory_close(&b) && memory_open(&b, stamp, text("doc")) && memory_close(&b));
    CHECK(!parsed(&m, &b, 42));
    CHECK(memory_close(&b) && parsed(&m, &b, 42) && m.node_count == 3 && m.match_count == 1);
    CHECK(memory_same(&m.nodes[1], &st) && !memory_same(&m.nodes[2], &st) && memory_same(&m.nodes[3], &st));
    CHECK(m.nodes[1].child == 2 && m.nodes[2].next == 3 && m.nodes[3].next == NO_NODE && m.nodes[1].match == 1);
    memory_free(&m);
    struct k_statx changed[] = {st, st, st, st, st};
    changed[0].ino++, changed[1].dev_minor++, changed[2].ctime.nsec++, changed[3].mtime.nsec++, changed[4].ctime.sec++;
    CHECK(parsed(&m, &b, 42));
    for (size_t i = 0; i < 5; i++) CHECK(!memory_same(&m.nodes[1], &changed[i]));
    memory_free(&m);
    CHECK(!parsed(&m, &b, 43) && memory_close(&b) && !parsed(&m, &b, 42));
    buf_consume(&b, b.len);
    CHECK(memory_begin(&b, 1) && memory_open(&b, stamp, text("")) && memory_match(&b, text("../x")) && memory_close(&b));
    CHECK(!parsed(&m, &b, 1));
    buf_free(&b);
}

int main(void) {
    test_frames();
    test_queue();
    test_tlv();
    test_windows();
    test_paths();
    test_globs();
    test_specs();
    test_markers();
    test_memory();
    test_work();
    test_machine();
    test_copied();
    test_ferry();
    test_tunnel();
    printf("%d %d\n", passed, failed);
    return failed == 0 ? 0 : 1;
}
