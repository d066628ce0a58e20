/* Packets of IPv6 that the agent turns round, as a guest's network stack makes them, and as a hostile program could. */
#include <arpa/inet.h>
#include <string.h>

#include "../src/tunnel.h"
#include "unit.h"

enum { HEADER = 40, TCP = 6, UDP = 17, ICMP = 58 };

struct packet {
    uint8_t bytes[256];
    size_t len;
};

static void address(uint8_t *out, const char *text) { inet_pton(AF_INET6, text, out); }

static bool is(const uint8_t *bytes, const char *text) {
    uint8_t wanted[16];
    address(wanted, text);
    return memcmp(bytes, wanted, 16) == 0;
}

/* RFC 8200, section 8.1: over addresses, length, protocol and content, the checksum included; zero when it is right. */
static uint16_t sum(const struct packet *p) {
    size_t content = p->len - HEADER;
    uint32_t value = (uint32_t)content + p->bytes[6];
    for (size_t i = 8; i < p->len; i++) value += i % 2 == 0 ? (uint32_t)p->bytes[i] << 8 : p->bytes[i];
    while (value >> 16 != 0) value = (value & 0xffff) + (value >> 16);
    return (uint16_t)~value;
}

static struct packet make(uint8_t next, const char *from, const char *to, size_t content, size_t sum_at) {
    struct packet p = {.len = HEADER + content};
    p.bytes[0] = 0x60, p.bytes[5] = (uint8_t)content, p.bytes[6] = next, p.bytes[7] = 64;
    address(p.bytes + 8, from);
    address(p.bytes + 24, to);
    for (size_t i = 0; i < content; i++) p.bytes[HEADER + i] = (uint8_t)(i * 7 + 1);
    memset(p.bytes + HEADER + sum_at, 0, 2);
    uint16_t value = sum(&p);
    p.bytes[HEADER + sum_at] = (uint8_t)(value >> 8), p.bytes[HEADER + sum_at + 1] = (uint8_t)value;
    return p;
}

static void test_round(uint8_t next, size_t sum_at) {
    struct packet p = make(next, "100::1", "2001:db8::7", 33, sum_at);
    uint8_t stand_in[16];
    CHECK(sum(&p) == 0 && tunnel_turn(p.bytes, p.len) && sum(&p) == 0);
    memcpy(stand_in, p.bytes + 8, 16);
    CHECK(is(p.bytes + 24, "100::1") && !is(stand_in, "2001:db8::7"));
    /* The answer: from the guest's own address to the stand-in. */
    memcpy(p.bytes + 24, stand_in, 16);
    address(p.bytes + 8, "100::1");
    CHECK(sum(&p) == 0 && tunnel_turn(p.bytes, p.len) && sum(&p) == 0);
    CHECK(is(p.bytes + 8, "2001:db8::7") && is(p.bytes + 24, "100::1"));
}

static void test_destinations(void) {
    struct packet one = make(TCP, "100::1", "2001:db8::1", 20, 16), again = one;
    struct packet other = make(TCP, "100::1", "fd00::1", 20, 16);
    CHECK(tunnel_turn(one.bytes, one.len) && tunnel_turn(other.bytes, other.len) && tunnel_turn(again.bytes, again.len));
    CHECK(memcmp(one.bytes, again.bytes, one.len) == 0 && memcmp(one.bytes + 8, other.bytes + 8, 16) != 0);
}

static void test_error(void) {
    struct packet sent = make(UDP, "100::1", "2001:db8::9", 12, 6), p = {.len = HEADER + 8 + HEADER + 12};
    CHECK(tunnel_turn(sent.bytes, sent.len));
    char stand_in[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, sent.bytes + 8, stand_in, sizeof stand_in);
    p = make(ICMP, "100::1", stand_in, p.len - HEADER, 2);
    p.bytes[HEADER] = 1, p.bytes[HEADER + 1] = 4;
    memcpy(p.bytes + HEADER + 8, sent.bytes, sent.len);
    memset(p.bytes + HEADER + 2, 0, 2);
    uint16_t value = sum(&p);
    p.bytes[HEADER + 2] = (uint8_t)(value >> 8), p.bytes[HEADER + 3] = (uint8_t)value;
    struct packet echo = p, foreign = p;
    CHECK(tunnel_turn(p.bytes, p.len) && sum(&p) == 0);
    CHECK(is(p.bytes + 8, "2001:db8::9") && is(p.bytes + 24, "100::1"));
    CHECK(is(p.bytes + HEADER + 16, "100::1") && is(p.bytes + HEADER + 32, "2001:db8::9"));
    echo.bytes[HEADER] = 128;
    address(foreign.bytes + HEADER + 16, "2001:db8::a");
    CHECK(!tunnel_turn(echo.bytes, echo.len) && !tunnel_turn(foreign.bytes, foreign.len));
}

static void test_odd(void) {
    struct packet p = make(TCP, "100::1", "2001:db8::7", 20, 16), multicast = make(UDP, "100::1", "ff02::fb", 20, 6);
    CHECK(!tunnel_turn(multicast.bytes, multicast.len));
    for (size_t len = 0; len < HEADER + 18; len++) CHECK(!tunnel_turn(p.bytes, len));
    p.bytes[0] = 0x45;
    CHECK(!tunnel_turn(p.bytes, p.len));
    /* A fragment, and options: whoever sends them waits in vain. */
    for (uint8_t next = 0; next < 60; next += 44) {
        struct packet q = make(next, "100::1", "2001:db8::7", 20, 6);
        CHECK(!tunnel_turn(q.bytes, q.len));
    }
}

void test_tunnel(void) {
    test_round(TCP, 16);
    test_round(UDP, 6);
    test_destinations();
    test_error();
    test_odd();
}
