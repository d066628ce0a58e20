/* Ports inside: waiting until somebody listens, and who does. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "work.h"

enum { FIRST_PAUSE_MS = 2, LAST_PAUSE_MS = 100, CONNECT_MS = 1000, TCP_LISTEN_STATE = 10, PORT_HEAD = 32 };

/* 0, or why not. */
static int try_port(uint16_t port, bool ipv6, int64_t until) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return errno;
    int err = 0;
    socklen_t len = sizeof err;
    int64_t left = until - now_ms();
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    if ((ipv6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6) : connect(fd, (struct sockaddr *)&v4, sizeof v4)) < 0) err = errno;
    if (err == EINPROGRESS) {
        err = ETIMEDOUT;
        if (poll(&ready, 1, left < 0 ? 0 : left > CONNECT_MS ? CONNECT_MS : (int)left) > 0 &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
            err = errno;
    }
    close(fd);
    return err;
}

void ports_wait(struct worker *w) {
    int64_t until = now_ms() + w->spec->timeout_ms, pause = FIRST_PAUSE_MS;
    for (;;) {
        int err = try_port((uint16_t)w->spec->port, false, until);
        if (err != 0 && try_port((uint16_t)w->spec->port, true, until) == 0) err = 0;
        if (err == 0 || work_stopped(w)) return;
        int64_t left = until - now_ms();
        if (left <= 0) {
            work_fail_with(w, "connect", ETIMEDOUT);
            return;
        }
        poll(NULL, 0, (int)(left < pause ? left : pause));
        pause = pause * 2 > LAST_PAUSE_MS ? LAST_PAUSE_MS : pause * 2;
    }
}

/* Four bytes in the order of the machine, as the kernel prints addresses: proc(5), /proc/net/tcp. */
static bool parse_word(const char *hex, uint8_t *out) {
    uint32_t word = 0;
    for (int i = 0; i < 8; i++) {
        const char *digits = "0123456789ABCDEF", *at = hex[i] == '\0' ? NULL : strchr(digits, hex[i]);
        if (at == NULL) return false;
        word = word << 4 | (uint32_t)(at - digits);
    }
    memcpy(out, &word, sizeof word);
    return true;
}

bool proc_port_parse(const char *line, bool ipv6, struct proc_port *out) {
    char address[40];
    unsigned port, state, uid;
    unsigned long long inode;
    *out = (struct proc_port){.family = ipv6 ? 6 : 4};
    int got = sscanf(line, "%*d: %39[0-9A-F]:%4X %*39[0-9A-F]:%*4X %2X %*8X:%*8X %*2X:%*8X %*8X %u %*d %llu", address, &port, &state, &uid, &inode);
    size_t words = ipv6 ? 4 : 1;
    if (got != 5 || strlen(address) != words * 8) return false;
    for (size_t i = 0; i < words; i++)
        if (!parse_word(address + i * 8, out->address + i * 4)) return false;
    out->port = (uint16_t)port;
    out->state = state;
    out->uid = uid;
    out->inode = inode;
    return true;
}

/* u16 port, u8 family (4, 6), u8 0, u32 uid, u64 inode, 16 bytes of address */
static bool put_port(struct worker *w, const struct proc_port *p) {
    uint8_t head[PORT_HEAD] = {0};
    struct slice none = {0};
    put_le(head, p->port, 2);
    head[2] = p->family;
    put_le(head + 4, p->uid, 4);
    put_le(head + 8, p->inode, 8);
    memcpy(head + 16, p->address, sizeof p->address);
    w->count++;
    return record_put(w, REC_PORT, head, sizeof head, none, none);
}

static bool list_table(struct worker *w, const char *file, bool ipv6) {
    char line[512];
    struct proc_port port;
    FILE *table = fopen(file, "re");
    /* No IPv6 here, or no such file in this kernel. */
    if (table == NULL) return errno == ENOENT || work_fail(w, "list");
    bool ok = true;
    while (ok && fgets(line, sizeof line, table) != NULL) {
        if (!proc_port_parse(line, ipv6, &port) || port.state != TCP_LISTEN_STATE) continue;
        if (w->count >= w->spec->max) w->flags |= DONE_TRUNCATED;
        else ok = put_port(w, &port);
    }
    fclose(table);
    return ok;
}

void ports_list(struct worker *w) {
    if (list_table(w, "/proc/net/tcp", false)) list_table(w, "/proc/net/tcp6", true);
}
