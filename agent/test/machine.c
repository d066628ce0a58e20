/* What a machine is told: the parser alone. Linked with unit.c. */
#include <arpa/inet.h>
#include <string.h>

#include "../src/machine.h"
#include "../src/proto.h"
#include "../src/vsock.h"
#include "unit.h"

struct mount_words {
    uint8_t kind;
    const char *target, *source;
};

static bool put_mount(struct buf *b, const struct mount_words *m) {
    struct buf inner = {0};
    bool ok = tlv_u8(&inner, MM_KIND, m->kind) && tlv_str(&inner, MM_TARGET, m->target);
    if (ok && m->source != NULL) ok = tlv_str(&inner, MM_SOURCE, m->source);
    ok = ok && tlv_u8(&inner, MM_WRITABLE, 1) && tlv_u32(&inner, MM_MODE, 0700) && tlv_u64(&inner, MM_BYTES, 4096);
    ok = ok && tlv_put(b, M_MOUNT, buf_head(&inner), inner.len);
    buf_free(&inner);
    return ok;
}

/* All that has to be there, but for the tag `without`. */
static void put_least(struct buf *b, uint16_t without) {
    static const uint8_t bytes[32];
    static const struct mount_words needed[] = {{MOUNT_PROC, "/proc", NULL}, {MOUNT_DEV, "/dev", NULL}};
    buf_consume(b, b->len);
    if (without != M_HOSTNAME) CHECK(tlv_str(b, M_HOSTNAME, "box"));
    if (without != M_ID) CHECK(tlv_put(b, M_ID, bytes, 16));
    if (without != M_SEED) CHECK(tlv_put(b, M_SEED, bytes, 32));
    if (without != M_CLOCK) CHECK(tlv_u64(b, M_CLOCK, 1));
    if (without != M_IDS) CHECK(tlv_u64(b, M_IDS, (uint64_t)7 << 32 | 1000));
    if (without != M_MOUNT) CHECK(put_mount(b, &needed[0]) && put_mount(b, &needed[1]));
}

static bool parsed(const struct buf *b, struct machine_spec *spec) {
    return machine_parse((struct slice){buf_head(b), b->len}, spec) == NULL;
}

static bool accepted(const struct buf *b) {
    struct machine_spec spec;
    bool ok = parsed(b, &spec);
    arena_free(&spec.arena);
    return ok;
}

static void test_least(void) {
    struct buf b = {0};
    struct machine_spec spec;
    put_least(&b, 0);
    CHECK(parsed(&b, &spec) && strcmp(spec.hostname, "box") == 0 && spec.uid == 1000 && spec.gid == 7);
    CHECK(!spec.has_network && spec.share == NULL && spec.mount_count == 2 && strcmp(spec.mounts[0].target, "proc") == 0);
    arena_free(&spec.arena);
    for (uint16_t tag = M_HOSTNAME; tag <= M_IDS; tag++) {
        put_least(&b, tag);
        CHECK(!accepted(&b));
    }
    put_least(&b, M_MOUNT);
    CHECK(!accepted(&b));
    put_least(&b, 0);
    CHECK(tlv_u32(&b, M_FILES, 0) && !accepted(&b));
    put_least(&b, 0);
    CHECK(tlv_u8(&b, 99, 1) && !accepted(&b));
    buf_free(&b);
}

static void test_mounts(void) {
    static const struct mount_words good[] = {
        {MOUNT_BASE, "/usr", "/usr"},     {MOUNT_SHARE, "/a/b", "/"},       {MOUNT_SYMLINK, "/bin", "../x"},
        {MOUNT_TMPFS, "/tmp", NULL},      {MOUNT_HIDDEN_DIR, "/x/y", NULL}, {MOUNT_FILE, "/etc/motd", NULL},
        {MOUNT_OWN, "/runsc", "/runsc"}, {MOUNT_OWN, "/a", "/init"},    {MOUNT_OWN, "/b", "/relay.sock"},
    };
    static const struct mount_words lent = {MOUNT_OWN, "/b", "/ssh-agent.sock"};
    static const uint8_t network[] = {10, 0, 2, 2, 1, 0};
    static const struct mount_words bad[] = {
        {MOUNT_BASE, "/usr", NULL},    {MOUNT_BASE, "usr", "/usr"},  {MOUNT_BASE, "/", "/usr"},   {MOUNT_BASE, "/a/../b", "/usr"},
        {MOUNT_BASE, "/a", "/../etc"}, {MOUNT_BASE, "/a", "etc"},    {MOUNT_TMPFS, "/tmp", "/x"}, {MOUNT_SYMLINK, "/bin", NULL},
        {MOUNT_OWN, "/a", NULL},  {MOUNT_OWN, "/a", "/etc"},  {MOUNT_OWN, "/a", "/modules"},
        {MOUNT_OWN + 1, "/a", NULL},  {0, "/a", NULL},              {MOUNT_DIR, "/a//b", NULL},  {MOUNT_DIR, "/a/.", NULL},
    };
    struct buf b = {0};
    struct machine_spec spec;
    put_least(&b, 0);
    CHECK(tlv_str(&b, M_SHARE, "view"));
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) CHECK(put_mount(&b, &good[i]));
    CHECK(parsed(&b, &spec) && spec.mount_count == 11);
    CHECK(strcmp(spec.mounts[3].source, ".") == 0 && spec.mounts[3].writable && spec.mounts[5].bytes == 4096);
    CHECK(strcmp(spec.mounts[4].source, "../x") == 0);
    arena_free(&spec.arena);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_least(&b, 0);
        CHECK(put_mount(&b, &bad[i]) && !accepted(&b));
    }
    put_least(&b, 0);
    CHECK(put_mount(&b, &good[1]) && !accepted(&b));
    put_least(&b, 0);
    CHECK(put_mount(&b, &lent) && !accepted(&b));
    CHECK(tlv_put(&b, M_NETWORK, network, sizeof network) && parsed(&b, &spec) && spec.has_ssh_agent);
    arena_free(&spec.arena);
    buf_free(&b);
}

static void test_network(void) {
    static const uint8_t bytes[] = {10, 0, 2, 2, 0xbb, 1, 0}, listener[] = {5, 0, 0, 0, PROTO_TCP, 0, 80, 0};
    static const uint8_t no_port[] = {10, 0, 2, 2, 0, 0};
    struct buf b = {0};
    struct machine_spec spec;
    put_least(&b, 0);
    CHECK(tlv_put(&b, M_LISTENER, listener, 8) && !accepted(&b));
    CHECK(tlv_put(&b, M_NETWORK, bytes, 6) && parsed(&b, &spec));
    CHECK(ntohs(spec.relay.sin_port) == 443 && spec.listeners.count == 1 && ntohl(spec.relay.sin_addr.s_addr) == 0x0a000202);
    arena_free(&spec.arena);
    for (size_t len = 0; len <= 7; len++) {
        put_least(&b, 0);
        CHECK(tlv_put(&b, M_NETWORK, bytes, len) && accepted(&b) == (len == 6));
    }
    put_least(&b, 0);
    CHECK(tlv_put(&b, M_NETWORK, no_port, 6) && !accepted(&b));
    buf_free(&b);
}

static void test_vsock(void) {
    static const uint8_t card[] = {10, 0, 2, 2, 0xbb, 1}, listener[] = {5, 0, 0, 0, PROTO_TCP, 0, 80, 0};
    static const char *const bad[] = {"", "0", "-1", "+2", " 2", "2 ", "0x2", "4294967295", "4294967296", "99999999999999999999"};
    struct buf b = {0};
    struct machine_spec spec;
    uint32_t host = 0;
    put_least(&b, 0);
    CHECK(tlv_put(&b, M_LISTENER, listener, 8) && tlv_u32(&b, M_VSOCK, 1025) && parsed(&b, &spec));
    CHECK(spec.has_network && spec.relay_port == 1025 && spec.listeners.count == 1);
    arena_free(&spec.arena);
    /* One way out, not two. */
    CHECK(tlv_put(&b, M_NETWORK, card, 6) && !accepted(&b));
    put_least(&b, 0);
    CHECK(tlv_put(&b, M_NETWORK, card, 6) && accepted(&b) && tlv_u32(&b, M_VSOCK, 1025) && !accepted(&b));
    put_least(&b, 0);
    CHECK(tlv_u32(&b, M_VSOCK, 0) && !accepted(&b));
    put_least(&b, 0);
    CHECK(tlv_u8(&b, M_VSOCK, 1) && !accepted(&b));
    buf_free(&b);
    CHECK(vsock_parse("2", &host) && host == 2 && vsock_parse("4294967294", &host) && host == 4294967294u);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) CHECK(!vsock_parse(bad[i], &host));
}

static bool thaws(uint16_t without, const uint16_t *tags, size_t count) {
    static const uint8_t bytes[32];
    struct buf b = {0};
    struct machine_spec spec;
    for (size_t i = 0; i < count; i++) {
        if (tags[i] == without) continue;
        if (tags[i] == M_HOSTNAME) CHECK(tlv_str(&b, M_HOSTNAME, "box"));
        else if (tags[i] == M_CLOCK) CHECK(tlv_u64(&b, M_CLOCK, 1));
        else CHECK(tlv_put(&b, tags[i], bytes, tags[i] == M_ID ? 16 : 32));
    }
    bool ok = machine_parse_thaw((struct slice){b.len == 0 ? NULL : buf_head(&b), b.len}, &spec) == NULL;
    arena_free(&spec.arena);
    buf_free(&b);
    return ok;
}

/* A copy with the parent's random numbers, or its name, is none. */
static void test_thaw(void) {
    static const uint16_t all[] = {M_CLOCK, M_HOSTNAME, M_ID, M_SEED}, odd[] = {M_CLOCK, 99};
    CHECK(thaws(0, all, 4) && thaws(0, all, 1));
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) CHECK(!thaws(all[i], all, 4));
    CHECK(!thaws(M_CLOCK, all, 1) && !thaws(0, odd, 2));
}

/* Whatever is missing at the end: never more than what was sent is read. */
static void test_cuts(void) {
    struct buf b = {0};
    put_least(&b, 0);
    for (size_t cut = 0; cut < b.len; cut++) {
        struct buf part = {0};
        struct machine_spec spec;
        CHECK(buf_put(&part, buf_head(&b), cut));
        CHECK(machine_parse((struct slice){cut == 0 ? NULL : buf_head(&part), cut}, &spec) != NULL);
        arena_free(&spec.arena);
        buf_free(&part);
    }
    buf_free(&b);
}

void test_machine(void) {
    test_least();
    test_mounts();
    test_network();
    test_vsock();
    test_thaw();
    test_cuts();
}
