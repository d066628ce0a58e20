/* Unit tests of files, watches and the process list: the work itself, without an agent around it. Linked with unit.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/hand.h"
#include "../src/limits.h"
#include "unit.h"

static char root[64];

static const char *at(const char *name) {
    static char paths[4][512];
    static int turn;
    char *path = paths[turn++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", root, name);
    return path;
}

static void put(const char *name, const char *content) {
    FILE *f = fopen(at(name), "w");
    fputs(content, f);
    fclose(f);
}

static bool holds(const char *name, const char *content) {
    char got[256];
    int fd = open(at(name), O_RDONLY);
    ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof got);
    if (fd >= 0) close(fd);
    return n == (ssize_t)strlen(content) && memcmp(got, content, (size_t)n) == 0;
}

/* What the work wrote, as far as tests look at it. */
static uint8_t output[64 * 1024];
static size_t output_len;
static struct worker last;

static void finish(void) {
    buf_free(&last.queue);
    buf_free(&last.entry);
}

/* Does the request of `spec` with `input` as its content; answers its errno. */
static int run(struct buf *spec, uint16_t type, const char *input) {
    static struct work_spec parsed;
    static const struct rlimits none;
    int in[2];
    finish();
    const char *problem = work_parse(type, (struct slice){buf_head(spec), spec->len}, &parsed);
    buf_consume(spec, spec->len);
    /* No pipe: nobody reads while the work writes, and a machine with many processes fills one. */
    int out = memfd_create("out", MFD_CLOEXEC);
    if (problem != NULL || pipe(in) < 0 || out < 0) return -1;
    if (input != NULL && write(in[1], input, strlen(input)) < 0) return -1;
    close(in[1]);
    last = (struct worker){.spec = &parsed, .rlimits = &none, .in = in[0], .out = out};
    work_interrupted = 0;
    work_run(&last);
    ssize_t got = pread(out, output, sizeof output, 0);
    output_len = got < 0 ? 0 : (size_t)got;
    close(in[0]);
    close(out);
    arena_free(&parsed.arena);
    return last.err;
}

static struct buf spec;

static struct buf *file(uint8_t op, const char *name) {
    tlv_u8(&spec, W_OP, op);
    tlv_str(&spec, W_PATH, at(name));
    return &spec;
}

static int write_as(const char *name, uint8_t how, uint32_t flags, const char *content) {
    file(OP_WRITE, name);
    tlv_u8(&spec, W_HOW, how);
    tlv_u32(&spec, W_FLAGS, flags);
    return run(&spec, F_FILE, content);
}

static void test_parse(void) {
    struct work_spec s;
    struct buf b = {0};
#define REFUSED(type) (work_parse(type, (struct slice){buf_head(&b), b.len}, &s) != NULL)
    CHECK(REFUSED(F_FILE) && REFUSED(F_WATCH) && REFUSED(F_WAIT_PORT) && !REFUSED(F_PROCESSES));
    tlv_u8(&b, W_OP, OP_READ);
    CHECK(REFUSED(F_FILE) && REFUSED(F_PROCESSES));
    tlv_str(&b, W_PATH, "relative");
    CHECK(REFUSED(F_FILE));
    arena_free(&s.arena);
    b.len = 0;
    tlv_u8(&b, W_OP, OP_READ);
    tlv_str(&b, W_PATH, "/a");
    CHECK(!REFUSED(F_FILE) && s.length == ~(uint64_t)0 && s.depth == 1);
    arena_free(&s.arena);
    tlv_str(&b, W_TARGET, "/b");
    CHECK(REFUSED(F_FILE));
    arena_free(&s.arena);
    const struct { uint16_t tag; uint32_t value; } bad[] = {{W_FLAGS, 32}, {W_MODE, 010000}, {W_DEPTH, 0}, {W_DEPTH, 65}, {W_PORT, 0}, {W_PORT, 65536}, {W_TIMEOUT, 86400001}, {99, 1}, {W_OFFSET, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        b.len = 0;
        tlv_u8(&b, W_OP, OP_STAT);
        tlv_str(&b, W_PATH, "/a");
        tlv_u32(&b, bad[i].tag, bad[i].value);
        CHECK(REFUSED(F_FILE));
        arena_free(&s.arena);
    }
    b.len = 0;
    tlv_u8(&b, W_OP, OP_STAT);
    tlv_put(&b, W_PATH, "/a\0b", 4);
    CHECK(REFUSED(F_FILE));
    arena_free(&s.arena);
    buf_free(&b);
}

static void test_writing(void) {
    CHECK(write_as("new", HOW_TRUNCATE, 0, "one") == 0 && holds("new", "one") && last.bytes == 3);
    CHECK(write_as("new", HOW_APPEND, 0, " two") == 0 && holds("new", "one two"));
    CHECK(write_as("new", HOW_EXCLUSIVE, 0, "x") == EEXIST && holds("new", "one two"));
    CHECK(write_as("other", HOW_EXCLUSIVE, 0, "x") == 0 && holds("other", "x"));
    CHECK(write_as("no/such", HOW_TRUNCATE, 0, "x") == ENOENT);
    CHECK(write_as("so/it/is", HOW_TRUNCATE, WF_PARENTS, "x") == 0 && holds("so/it/is", "x"));
    CHECK(write_as("so", HOW_TRUNCATE, 0, "x") == EISDIR && write_as("new/below", HOW_TRUNCATE, WF_PARENTS, "x") == ENOTDIR);
    file(OP_WRITE, "new");
    tlv_u8(&spec, W_HOW, HOW_UPDATE);
    tlv_u64(&spec, W_OFFSET, 4);
    CHECK(run(&spec, F_FILE, "TWO") == 0 && holds("new", "one TWO"));
    file(OP_WRITE, "new");
    tlv_u8(&spec, W_HOW, HOW_UPDATE);
    tlv_u64(&spec, W_OFFSET, ~(uint64_t)0);
    CHECK(run(&spec, F_FILE, "x") == EINVAL);
    struct stat st;
    file(OP_WRITE, "private");
    tlv_u8(&spec, W_HOW, HOW_TRUNCATE);
    tlv_u32(&spec, W_MODE, 0600);
    CHECK(run(&spec, F_FILE, "x") == 0 && stat(at("private"), &st) == 0 && (st.st_mode & 0777) == 0600);
}

static size_t names_in(const char *name) {
    file(OP_LIST, name);
    tlv_u32(&spec, W_MAX, 1000);
    return run(&spec, F_FILE, NULL) == 0 ? last.count : (size_t)-1;
}

static void test_atomic(void) {
    struct stat before, after;
    mkdir(at("atomic"), 0755);
    CHECK(write_as("atomic/f", HOW_TRUNCATE, WF_ATOMIC, "old") == 0 && holds("atomic/f", "old"));
    CHECK(chmod(at("atomic/f"), 0640) == 0 && stat(at("atomic/f"), &before) == 0);
    CHECK(write_as("atomic/f", HOW_TRUNCATE, WF_ATOMIC, "new") == 0 && holds("atomic/f", "new"));
    CHECK(stat(at("atomic/f"), &after) == 0 && after.st_ino != before.st_ino && (after.st_mode & 0777) == 0640);
    CHECK(symlink("f", at("atomic/link")) == 0 && write_as("atomic/link", HOW_TRUNCATE, WF_ATOMIC, "x") == 0);
    CHECK(holds("atomic/f", "new") && lstat(at("atomic/link"), &after) == 0 && S_ISREG(after.st_mode));
    CHECK(mkfifo(at("atomic/pipe"), 0600) == 0 && write_as("atomic/pipe", HOW_TRUNCATE, WF_ATOMIC, "x") == EOPNOTSUPP);
    CHECK(write_as("atomic", HOW_TRUNCATE, WF_ATOMIC, "x") == EISDIR && write_as("atomic/", HOW_TRUNCATE, WF_ATOMIC, "x") == EISDIR);
    CHECK(names_in("atomic") == 3);
}

static void test_reading(void) {
    put("text", "0123456789");
    CHECK(run(file(OP_READ, "text"), F_FILE, NULL) == 0 && output_len == 10 && last.bytes == 10);
    file(OP_READ, "text");
    tlv_u64(&spec, W_OFFSET, 3);
    tlv_u64(&spec, W_LENGTH, 4);
    CHECK(run(&spec, F_FILE, NULL) == 0 && output_len == 4 && memcmp(output, "3456", 4) == 0);
    file(OP_READ, "text");
    tlv_u64(&spec, W_OFFSET, 100);
    CHECK(run(&spec, F_FILE, NULL) == 0 && output_len == 0);
    CHECK(run(file(OP_READ, "none"), F_FILE, NULL) == ENOENT && strcmp(last.step, "open") == 0);
    CHECK(run(file(OP_READ, "."), F_FILE, NULL) == EISDIR);
    CHECK(mkfifo(at("fifo"), 0600) == 0 && run(file(OP_READ, "fifo"), F_FILE, NULL) == EOPNOTSUPP);
    CHECK(write_as("fifo", HOW_TRUNCATE, 0, "x") == EOPNOTSUPP);
    tlv_u8(&spec, W_OP, OP_READ);
    tlv_str(&spec, W_PATH, "/proc/self/mem");
    CHECK(run(&spec, F_FILE, NULL) == EACCES);
    tlv_u8(&spec, W_OP, OP_READ);
    tlv_str(&spec, W_PATH, "/proc/self/environ");
    CHECK(run(&spec, F_FILE, NULL) == EACCES);
    tlv_u8(&spec, W_OP, OP_READ);
    tlv_str(&spec, W_PATH, "/proc/version");
    CHECK(run(&spec, F_FILE, NULL) == 0 && output_len > 10);
}

static void test_names(void) {
    struct stat st;
    CHECK(run(file(OP_STAT, "text"), F_FILE, NULL) == 0 && last.entry.len == 40 && buf_head(&last.entry)[0] == ENTRY_FILE);
    CHECK(symlink("text", at("to-text")) == 0 && run(file(OP_STAT, "to-text"), F_FILE, NULL) == 0);
    CHECK(buf_head(&last.entry)[0] == ENTRY_SYMLINK && buf_head(&last.entry)[1] == ENTRY_FILE && last.entry.len == 44);
    CHECK(run(file(OP_MKDIR, "dir"), F_FILE, NULL) == 0 && last.flags == DONE_CREATED && run(file(OP_MKDIR, "dir"), F_FILE, NULL) == EEXIST);
    file(OP_MKDIR, "dir/a/b/");
    tlv_u32(&spec, W_FLAGS, WF_PARENTS);
    CHECK(run(&spec, F_FILE, NULL) == 0 && last.flags == DONE_CREATED && stat(at("dir/a/b"), &st) == 0);
    file(OP_MKDIR, "dir/a/b");
    tlv_u32(&spec, W_FLAGS, WF_PARENTS);
    CHECK(run(&spec, F_FILE, NULL) == 0 && last.flags == 0);
    file(OP_MKDIR, "text/a");
    tlv_u32(&spec, W_FLAGS, WF_PARENTS);
    CHECK(run(&spec, F_FILE, NULL) == ENOTDIR);
    put("from", "moved");
    file(OP_RENAME, "from");
    tlv_str(&spec, W_TARGET, at("dir/to"));
    CHECK(run(&spec, F_FILE, NULL) == 0 && holds("dir/to", "moved"));
    put("from", "again");
    file(OP_RENAME, "from");
    tlv_str(&spec, W_TARGET, at("dir/to"));
    tlv_u32(&spec, W_FLAGS, WF_NO_REPLACE);
    CHECK(run(&spec, F_FILE, NULL) == EEXIST && holds("dir/to", "moved"));
    file(OP_CHMOD, "dir/to");
    tlv_u32(&spec, W_MODE, 0400);
    CHECK(run(&spec, F_FILE, NULL) == 0 && stat(at("dir/to"), &st) == 0 && (st.st_mode & 07777) == 0400);
    file(OP_SYMLINK, "dir/link");
    tlv_str(&spec, W_TARGET, "to");
    CHECK(run(&spec, F_FILE, NULL) == 0 && lstat(at("dir/link"), &st) == 0 && S_ISLNK(st.st_mode));
}

static void test_listing(void) {
    file(OP_LIST, "dir");
    tlv_u32(&spec, W_DEPTH, 5);
    tlv_u32(&spec, W_MAX, 1000);
    CHECK(run(&spec, F_FILE, NULL) == 0 && last.count == 4 && last.flags == 0);
    struct slice rest = {output, output_len};
    struct tlv t;
    int found = 0, more;
    while ((more = tlv_next(&rest, &t)) == 1)
        if (t.tag == REC_ENTRY && t.value.len == 43 && memcmp(t.value.ptr + 40, "a/b", 3) == 0) found++;
    CHECK(more == 0 && found == 1);
    file(OP_LIST, "dir");
    tlv_u32(&spec, W_MAX, 2);
    CHECK(run(&spec, F_FILE, NULL) == 0 && last.count == 2 && last.flags == DONE_TRUNCATED);
    CHECK(run(file(OP_LIST, "text"), F_FILE, NULL) == ENOTDIR);
}

static int remove_all(const char *name) {
    file(OP_REMOVE, name);
    tlv_u32(&spec, W_FLAGS, WF_RECURSIVE);
    return run(&spec, F_FILE, NULL);
}

static void test_removing(void) {
    struct stat st;
    CHECK(run(file(OP_REMOVE, "none"), F_FILE, NULL) == ENOENT && run(file(OP_REMOVE, "dir"), F_FILE, NULL) == ENOTEMPTY);
    CHECK(run(file(OP_REMOVE, "."), F_FILE, NULL) == EINVAL);
    mkdir(at("kept"), 0755);
    put("kept/file", "x");
    CHECK(symlink(at("kept"), at("dir/out")) == 0 && remove_all("dir/") == 0 && last.count == 6);
    CHECK(stat(at("dir"), &st) < 0 && holds("kept/file", "x"));
    CHECK(symlink("kept", at("alias")) == 0 && remove_all("alias") == 0 && holds("kept/file", "x"));
    /* Deeper than descriptors or a path could go. */
    int here = open(root, O_RDONLY | O_DIRECTORY), old = open(".", O_RDONLY | O_DIRECTORY);
    CHECK(fchdir(here) == 0);
    for (int i = 0; i < 3000; i++)
        if (mkdir("d", 0755) < 0 || chdir("d") < 0) CHECK(false);
    CHECK(fchdir(old) == 0 && remove_all("d") == 0 && last.count == 3000 && stat(at("d"), &st) < 0);
    close(here);
    close(old);
}

static void test_interrupted(void) {
    struct worker w = {0};
    work_interrupted = 1;
    CHECK(work_stopped(&w) && w.err == EINTR);
    work_interrupted = 0;
    struct buf b = {0};
    CHECK(work_result(&w, &b) && b.len > 0);
    buf_free(&b);
}

struct watcher {
    int in, out;
    struct work_spec spec;
};

static void *watch(void *arg) {
    struct watcher *x = arg;
    struct worker w = {.spec = &x->spec, .in = x->in, .out = x->out};
    watch_run(&w);
    record_flush(&w);
    buf_free(&w.queue);
    close(x->out);
    return NULL;
}

/* The next record, as "kind path>path". */
static const char *next_event(int fd) {
    static char text[256];
    uint8_t head[TLV_HEADER], body[256];
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    if (poll(&ready, 1, 5000) != 1 || read(fd, head, sizeof head) != sizeof head) return "nothing";
    uint32_t len = get_u32(head + 2);
    if (len > sizeof body || (len > 0 && read(fd, body, len) != (ssize_t)len)) return "too much";
    if (get_u16(head) == REC_WATCHING) return "watching";
    if (get_u16(head) == REC_OVERFLOW) return body[0] == OVERFLOW_WATCHES ? "full" : "overflow";
    static const char *const kinds[] = {"?", "create", "write", "remove", "rename", "chmod"};
    snprintf(text, sizeof text, "%s %.*s>%.*s", kinds[body[0]], get_u16(body + 2), (char *)body + 6, get_u16(body + 4), (char *)body + 6 + get_u16(body + 2));
    return text;
}

static void expect_event(int fd, const char *wanted, int line) {
    const char *got = next_event(fd);
    check(strcmp(got, wanted) == 0, got, __FILE__, line);
}
#define EVENT(text) expect_event(out[0], text, __LINE__)

static void test_watching(void) {
    int in[2], out[2];
    pthread_t thread;
    mkdir(at("seen"), 0755);
    mkdir(at("seen/sub"), 0755);
    CHECK(pipe(in) == 0 && pipe(out) == 0);
    struct watcher x = {.in = in[0], .out = out[1], .spec = {.type = F_WATCH, .path = strdup(at("seen")), .flags = WF_RECURSIVE, .max = 3}};
    CHECK(pthread_create(&thread, NULL, watch, &x) == 0);
    EVENT("watching");
    put("seen/sub/f", "x");
    EVENT("create sub/f>");
    EVENT("write sub/f>");
    rename(at("seen/sub"), at("seen/moved"));
    EVENT("rename sub>moved");
    chmod(at("seen/moved/f"), 0600);
    EVENT("chmod moved/f>");
    rename(at("seen/moved/f"), at("out-of-sight"));
    EVENT("remove moved/f>");
    mkdir(at("seen/second"), 0755);
    EVENT("create second>");
    usleep(50000);
    put("seen/second/g", "");
    EVENT("create second/g>");
    mkdir(at("seen/third"), 0755);
    EVENT("create third>");
    EVENT("full");
    CHECK(remove_all("seen") == 0);
    int removed = 0;
    while (strncmp(next_event(out[0]), "remove ", 7) == 0) removed++;
    CHECK(removed == 4);
    CHECK(pthread_join(thread, NULL) == 0);
    free(x.spec.path);
    close(in[0]);
    close(in[1]);
    close(out[0]);
}

static void test_proc_files(void) {
    struct proc_stat p;
    CHECK(proc_stat_parse("7 (a) b (c) S 1 7 5 0 -1 4 1 2 3 4 50 60 0 0 20 0 1 0 900 1000 25 18", &p));
    CHECK(strcmp(p.comm, "a) b (c") == 0 && p.state == 'S' && p.ppid == 1 && p.session == 5 && p.cpu_ticks == 110 && p.start_ticks == 900 && p.rss_pages == 25);
    CHECK(!proc_stat_parse("", &p) && !proc_stat_parse("7 (", &p) && !proc_stat_parse("7 (x)", &p) && !proc_stat_parse(")( S", &p));
    struct proc_port port;
    const char *v4 = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4242 1 0 100 0 0 10 0";
    CHECK(proc_port_parse(v4, false, &port) && port.port == 8080 && port.state == 10 && port.uid == 1000 && port.inode == 4242);
    CHECK(port.address[0] == 127 && port.address[3] == 1 && !proc_port_parse(v4, true, &port));
    CHECK(!proc_port_parse("  sl  local_address rem_address   st", false, &port) && !proc_port_parse("", true, &port));
    tlv_u32(&spec, W_MAX, 100000);
    CHECK(run(&spec, F_PROCESSES, NULL) == 0 && output_len > 0);
    tlv_u32(&spec, W_MAX, 100000);
    CHECK(run(&spec, F_PORTS, NULL) == 0);
    tlv_u32(&spec, W_PORT, 1);
    tlv_u32(&spec, W_TIMEOUT, 20);
    CHECK(run(&spec, F_WAIT_PORT, NULL) == ETIMEDOUT);
}

/* The result of a hand's last request: its errno, or -1. */
static int answer_of(const struct hand *h) {
    uint8_t data[HAND_RESULT_MAX];
    ssize_t n = recv(h->fd, data, sizeof data, 0);
    struct slice rest = {data, n < 0 ? 0 : (size_t)n};
    struct tlv t;
    uint32_t err;
    return tlv_next(&rest, &t) == 1 && t.tag == D_ERRNO && slice_u32(t.value, &err) ? (int)err : -1;
}

static int open_descriptors(pid_t pid) {
    char path[32];
    int n = -2;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *list = opendir(path);
    while (list != NULL && readdir(list) != NULL) n++;
    if (list != NULL) closedir(list);
    return n;
}

static bool give_file(struct hand *h, struct buf *b, int in, int out) {
    bool ok = hand_give(h, F_FILE, (struct slice){buf_head(b), b->len}, in, out);
    buf_consume(b, b->len);
    return ok;
}

static void test_hands(void) {
    static struct work_spec parsed;
    static const struct rlimits none;
    int data[2], status;
    char got[16];
    put("hand", "content");
    file(OP_STAT, "hand");
    CHECK(work_parse(F_FILE, (struct slice){buf_head(&spec), spec.len}, &parsed) == NULL);
    buf_consume(&spec, spec.len);
    struct worker w = {.spec = &parsed, .rlimits = &none, .stays = true};
    struct hand *h = hand_fork(&w, -1, -1);
    CHECK(h != NULL && answer_of(h) == 0 && hand_has_begun(h));
    /* Another file, with its data; then nothing of it is left but two null devices and the socket. */
    CHECK(pipe(data) == 0 && give_file(h, file(OP_READ, "hand"), -1, data[1]));
    close(data[1]);
    CHECK(answer_of(h) == 0 && read(data[0], got, sizeof got) == 7 && memcmp(got, "content", 7) == 0 && read(data[0], got, 1) == 0);
    close(data[0]);
    CHECK(open_descriptors(h->pid) == 3);
    /* Stopped while it has nothing to do. */
    kill(h->pid, SIGSTOP);
    CHECK(give_file(h, file(OP_STAT, "none"), -1, -1) && answer_of(h) == ENOENT);
    /* Given up before it was taken: not a byte is written, and the hand is done. */
    kill(h->pid, SIGSTOP);
    CHECK(waitpid(h->pid, &status, WUNTRACED) == h->pid && WIFSTOPPED(status));
    h->page->given_up = h->turn + 1;
    file(OP_WRITE, "hand");
    tlv_u8(&spec, W_HOW, HOW_TRUNCATE);
    CHECK(pipe(data) == 0 && give_file(h, &spec, data[0], -1));
    close(data[0]);
    close(data[1]);
    CHECK(answer_of(h) == EINTR && holds("hand", "content"));
    CHECK(waitpid(h->pid, &status, 0) == h->pid && WIFEXITED(status));
    CHECK(!give_file(h, file(OP_STAT, "hand"), -1, -1) && !hand_has_begun(h));
    hand_free(h);
    arena_free(&parsed.arena);
}

static void test_limits(void) {
    struct rlimit now;
    struct limit_plan p = {0};
    CHECK(getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_max > 64);
    struct rlimit_spec items[] = {{RLIMIT_NOFILE, 32, 64}, {RLIMIT_NOFILE, 48, ~(uint64_t)0}, {RLIMIT_CORE, ~(uint64_t)0, ~(uint64_t)0}};
    CHECK(limits_add(&p, &(struct rlimits){items, 3, 3}));
    CHECK(p.wanted[RLIMIT_NOFILE].soft == 48 && p.wanted[RLIMIT_NOFILE].hard == 64);
    CHECK(!limits_add_one(&p, &(struct rlimit_spec){LIMIT_COUNT, 1, 1}));
    pid_t pid = fork();
    if (pid == 0) {
        bool ok = limits_apply(&p) && getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur == 48 && now.rlim_max == 64;
        _exit(ok ? 0 : 1);
    }
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void test_work(void) {
    strcpy(root, "/tmp/glovebox-unit-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    test_parse();
    test_writing();
    test_atomic();
    test_reading();
    test_names();
    test_listing();
    test_removing();
    test_interrupted();
    test_watching();
    test_proc_files();
    test_hands();
    test_limits();
    tlv_u8(&spec, W_OP, OP_REMOVE);
    tlv_str(&spec, W_PATH, root);
    tlv_u32(&spec, W_FLAGS, WF_RECURSIVE);
    CHECK(run(&spec, F_FILE, NULL) == 0);
    finish();
    buf_free(&spec);
}
