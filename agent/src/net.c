#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "fail.h"
#include "proto.h"

enum {
    NL_RTM_NEWADDR = 20,
    NL_RTM_NEWROUTE = 24,
    NL_REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400,
    NL_ERROR = 2,
    RT_TABLE_LOCAL_ID = 255,
    RT_PROTO_BOOT = 3,
    RT_SCOPE_HOST_ID = 254,
    RT_TYPE_LOCAL = 2,
    RT_ATTR_OIF = 4,
    ADDR_ATTR_ADDRESS = 1,
    ADDR_ATTR_LOCAL = 2,
    /* Node's own default backlog. */
    BACKLOG = 511,
};

/* netlink(7) and rtnetlink(7) */
struct route_request {
    uint32_t len;
    uint16_t type, flags;
    uint32_t seq, pid;
    uint8_t family, dst_len, src_len, tos, table, protocol, scope, route_type;
    uint32_t route_flags;
    uint16_t attr_len, attr_type;
    uint32_t oif;
};

struct route_answer {
    uint32_t len;
    uint16_t type, flags;
    uint32_t seq, pid;
    int32_t error;
    uint8_t rest[256];
};

static bool set_flags(const char *name, short flags) {
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    struct ifreq request = {0};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    request.ifr_flags = flags;
    bool ok = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    int saved = errno;
    close(fd);
    errno = saved;
    return ok;
}

bool net_up(const char *name) { return set_flags(name, IFF_UP | IFF_RUNNING); }

bool net_down(const char *name) { return set_flags(name, 0); }

bool net_loopback_up(void) { return net_up("lo"); }

struct address_request {
    uint32_t len;
    uint16_t type, flags;
    uint32_t seq, pid;
    uint8_t family, prefix_len, address_flags, scope;
    uint32_t index;
    uint16_t local_len, local_type;
    struct in_addr local;
    uint16_t address_len, address_type;
    struct in_addr address;
};

static bool exchange(int fd, const void *request, size_t len) {
    struct route_answer answer;
    if (send(fd, request, len, 0) != (ssize_t)len) return false;
    ssize_t n = recv(fd, &answer, sizeof answer, 0);
    if (n < 0) return false;
    if ((size_t)n < offsetof(struct route_answer, rest) || answer.type != NL_ERROR) {
        errno = EPROTO;
        return false;
    }
    errno = -answer.error;
    return answer.error == 0;
}

static bool ask_kernel(const void *request, size_t len) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0) return false;
    bool ok = exchange(fd, request, len);
    int saved = errno;
    close(fd);
    errno = saved;
    return ok;
}

bool net_any_ip(int family) {
    struct route_request request = {
        .len = sizeof request,
        .type = NL_RTM_NEWROUTE,
        .flags = NL_REQUEST_ACK_CREATE,
        .seq = 1,
        .family = (uint8_t)family,
        .table = RT_TABLE_LOCAL_ID,
        .protocol = RT_PROTO_BOOT,
        .scope = RT_SCOPE_HOST_ID,
        .route_type = RT_TYPE_LOCAL,
        .attr_len = 8,
        .attr_type = RT_ATTR_OIF,
        .oif = if_nametoindex("lo"),
    };
    return ask_kernel(&request, sizeof request);
}

bool net_add_ipv4(unsigned interface, struct in_addr address, uint8_t prefix_len) {
    struct address_request request = {
        .len = sizeof request,
        .type = NL_RTM_NEWADDR,
        .flags = NL_REQUEST_ACK_CREATE,
        .seq = 1,
        .family = AF_INET,
        .prefix_len = prefix_len,
        .index = interface,
        .local_len = 8,
        .local_type = ADDR_ATTR_LOCAL,
        .local = address,
        .address_len = 8,
        .address_type = ADDR_ATTR_ADDRESS,
        .address = address,
    };
    return ask_kernel(&request, sizeof request);
}

struct address6_request {
    uint32_t len;
    uint16_t type, flags;
    uint32_t seq, pid;
    uint8_t family, prefix_len, address_flags, scope;
    uint32_t index;
    uint16_t local_len, local_type;
    struct in6_addr local;
    uint16_t address_len, address_type;
    struct in6_addr address;
};

bool net_add_ipv6(unsigned interface, const char *address, uint8_t prefix_len) {
    struct address6_request request = {
        .len = sizeof request,
        .type = NL_RTM_NEWADDR,
        .flags = NL_REQUEST_ACK_CREATE,
        .seq = 1,
        .family = AF_INET6,
        .prefix_len = prefix_len,
        .index = interface,
        .local_len = 20,
        .local_type = ADDR_ATTR_LOCAL,
        .address_len = 20,
        .address_type = ADDR_ATTR_ADDRESS,
    };
    if (inet_pton(AF_INET6, address, &request.local) != 1) return false;
    request.address = request.local;
    return ask_kernel(&request, sizeof request);
}

bool net_every_address(void) {
    unsigned lo = if_nametoindex("lo");
    return net_add_ipv4(lo, (struct in_addr){htonl(0x00000001)}, 1) && net_add_ipv4(lo, (struct in_addr){htonl(0x80000001)}, 1);
}

static bool bind_any(int fd, uint16_t port, bool ipv6) {
    int on = 1, off = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0) return false;
    if (!ipv6) {
        struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
        return bind(fd, (struct sockaddr *)&any4, sizeof any4) == 0;
    }
    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0) return false;
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    return bind(fd, (struct sockaddr *)&any6, sizeof any6) == 0;
}

int net_listener(const struct listener *l, bool ipv6) {
    int type = l->proto == PROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
    int fd = socket(ipv6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    if (bind_any(fd, l->port, ipv6) && (l->proto == PROTO_UDP || listen(fd, BACKLOG) == 0)) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int net_datagram(uint16_t port, int family) {
    int on = 1, fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool ok;
    if (family == AF_INET)
        ok = setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0 && bind(fd, (struct sockaddr *)&any4, sizeof any4) == 0;
    else
        ok = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0 &&
             setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) == 0 &&
             bind(fd, (struct sockaddr *)&any6, sizeof any6) == 0;
    if (ok) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* One line of Node's IPC protocol with the socket as SCM_RIGHTS (lib/internal/child_process.js, handleConversion). */
static bool send_handle(int ipc, int fd, const struct listener *l) {
    char line[96];
    int n = snprintf(line, sizeof line, "{\"cmd\":\"NODE_HANDLE\",\"type\":\"%s\",\"msg\":{\"id\":%u}}\n",
                     l->proto == PROTO_TCP ? "net.Native" : "dgram.Native", l->id);
    struct iovec text = {line, (size_t)n};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct msghdr message = {
        .msg_iov = &text, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    return sendmsg(ipc, &message, MSG_NOSIGNAL) == n;
}

/*
 * The socket stays open beyond this stage: libuv takes a hang-up that it sees together with a read cut short by a descriptor
 * for the end of the stream, and would lose what follows (uv__stream_io). The inside stage closes it when it has its boot
 * frame, which the host sends only when it has every socket. Node's answers are left unread.
 */
void net_hand_over(const struct airlock_spec *spec, bool ipv6, int ipc) {
    char path[32];
    for (size_t i = 0; i < spec->listeners.count; i++) {
        const struct listener *l = &spec->listeners.items[i];
        snprintf(path, sizeof path, "%s/%u", l->proto == PROTO_TCP ? "tcp" : "udp", l->port);
        int fd = net_listener(l, ipv6);
        if (fd < 0) fail_sys("listen", path);
        if (!send_handle(ipc, fd, l)) fail_sys("hand over", path);
        close(fd);
    }
    static const char ready[] = "{\"ready\":true}\n";
    if (!write_all(ipc, ready, sizeof ready - 1)) fail_sys("hand over", "ready");
}
