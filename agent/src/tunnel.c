#include "tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "net.h"

enum {
    /* linux/if_tun.h */
    TUN_SET_INTERFACE = 0x400454ca,
    TUN_PACKETS = 0x0001,
    TUN_NO_HEADER = 0x1000,
    /* RFC 8200, section 3 */
    HEADER = 40,
    NEXT_HEADER = 6,
    SOURCE = 8,
    DESTINATION = 24,
    ADDRESS = 16,
    TCP = 6,
    UDP = 17,
    ICMP = 58,
    /* RFC 4443, section 3.1: the head of an error, before the packet that it is about. */
    ICMP_HEAD = 8,
    ICMP_UNREACHABLE = 1,
    PACKET_MAX = 65536,
    /* Packets before others get their turn. */
    TURNS = 32,
    DESTINATIONS = 1 << 14,
    PROBES = 16,
};

/*
 * An address of the guest's for each half of IPv6. Whatever a program connects to, it comes back from a stand-in for that: an
 * address that says where in `meant` it is found. All of them lie where nothing is (RFC 6666, RFC 4193).
 */
static const char *const own[] = {"100::1", "fd67:6c6f:7665::1"};
static const uint8_t stand_in[ADDRESS] = {0x01, 0x00, 0, 0, 0, 0, 0, 1};
static uint8_t meant[DESTINATIONS][ADDRESS];
static uint8_t packet[PACKET_MAX];

static bool add_addresses(const char *name) {
    unsigned index = if_nametoindex(name);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (!net_add_ipv6(index, own[i], 1)) return false;
    return true;
}

int tunnel_open(void) {
    struct ifreq request = {.ifr_name = "gateway"};
    request.ifr_flags = TUN_PACKETS | TUN_NO_HEADER;
    int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return -1;
    if (ioctl(fd, TUN_SET_INTERFACE, &request) == 0 && add_addresses(request.ifr_name)) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static bool is_stand_in(const uint8_t *address) { return memcmp(address, stand_in, ADDRESS - 2) == 0; }

static size_t place_of(const uint8_t *address) { return (size_t)(address[ADDRESS - 2] << 8 | address[ADDRESS - 1]) % DESTINATIONS; }

/* FNV-1a. */
static size_t hash(const uint8_t *address) {
    uint32_t h = 2166136261u;
    for (int i = 0; i < ADDRESS; i++) h = (h ^ address[i]) * 16777619u;
    return h;
}

/* Where this destination is kept. One that has no place left takes another's, whose connections end. */
static size_t keep(const uint8_t *address) {
    static const uint8_t nothing[ADDRESS];
    size_t first = hash(address);
    for (size_t i = 0; i < PROBES; i++) {
        size_t at = (first + i) % DESTINATIONS;
        if (memcmp(meant[at], address, ADDRESS) == 0) return at;
        if (memcmp(meant[at], nothing, ADDRESS) != 0) continue;
        memcpy(meant[at], address, ADDRESS);
        return at;
    }
    memcpy(meant[first % DESTINATIONS], address, ADDRESS);
    return first % DESTINATIONS;
}

/* A destination's stand-in, or a stand-in's destination. */
static void counterpart(const uint8_t *address, uint8_t *out) {
    if (is_stand_in(address)) {
        memcpy(out, meant[place_of(address)], ADDRESS);
        return;
    }
    size_t at = keep(address);
    memcpy(out, stand_in, ADDRESS);
    out[ADDRESS - 2] = (uint8_t)(at >> 8);
    out[ADDRESS - 1] = (uint8_t)at;
}

/* RFC 1624, equation 3: the checksum after one address has taken the place of another. */
static void replace_in_sum(uint8_t *sum, const uint8_t *gone, const uint8_t *come) {
    uint32_t value = (uint16_t) ~(sum[0] << 8 | sum[1]);
    for (int i = 0; i < ADDRESS; i += 2) {
        value += (uint16_t) ~(gone[i] << 8 | gone[i + 1]);
        value += (uint32_t)(come[i] << 8 | come[i + 1]);
    }
    while (value >> 16 != 0) value = (value & 0xffff) + (value >> 16);
    value = (uint16_t)~value;
    /* RFC 8200, section 8.1: to UDP a zero says that there is none; to TCP both are the same. */
    if (value == 0) value = 0xffff;
    sum[0] = (uint8_t)(value >> 8);
    sum[1] = (uint8_t)value;
}

/* Turns the addresses of a packet round; the checksum knows both, and one of them changes. */
static void turn_addresses(uint8_t *p, const uint8_t *gone, const uint8_t *come, uint8_t *sum) {
    memcpy(p + DESTINATION, p + SOURCE, ADDRESS);
    memcpy(p + SOURCE, come, ADDRESS);
    replace_in_sum(sum, gone, come);
}

/* "Nobody listens there", about a datagram that came back: told to whoever sent it in the words that he knows. */
static bool turn_error(uint8_t *p, size_t len, const uint8_t *gone, const uint8_t *come) {
    uint8_t *about = p + HEADER + ICMP_HEAD, sender[ADDRESS];
    if (len < HEADER + ICMP_HEAD + HEADER || p[HEADER] != ICMP_UNREACHABLE || !is_stand_in(gone)) return false;
    if (memcmp(about + SOURCE, gone, ADDRESS) != 0) return false;
    turn_addresses(p, gone, come, p + HEADER + 2);
    memcpy(sender, about + DESTINATION, ADDRESS);
    memcpy(about + SOURCE, sender, ADDRESS);
    memcpy(about + DESTINATION, come, ADDRESS);
    replace_in_sum(p + HEADER + 2, gone, come);
    return true;
}

bool tunnel_turn(uint8_t *p, size_t len) {
    uint8_t gone[ADDRESS], come[ADDRESS];
    if (len < HEADER || p[0] >> 4 != 6 || p[DESTINATION] == 0xff) return false;
    memcpy(gone, p + DESTINATION, ADDRESS);
    counterpart(gone, come);
    size_t sum = p[NEXT_HEADER] == TCP ? HEADER + 16 : HEADER + 6;
    if (p[NEXT_HEADER] == ICMP) return turn_error(p, len, gone, come);
    if ((p[NEXT_HEADER] != TCP && p[NEXT_HEADER] != UDP) || len < sum + 2) return false;
    turn_addresses(p, gone, come, p + sum);
    return true;
}

void tunnel_packets(int fd) {
    for (int turn = 0; turn < TURNS; turn++) {
        ssize_t n = read(fd, packet, sizeof packet);
        if (n <= 0) return;
        /* A packet that is not taken is lost, as on any network. */
        if (tunnel_turn(packet, (size_t)n) && write(fd, packet, (size_t)n) < 0 && errno == EBADF) return;
    }
}

void tunnel_destination(int client, struct sockaddr_storage *local) {
    struct sockaddr_in6 peer;
    socklen_t size = sizeof peer;
    if (local->ss_family != AF_INET6 || getpeername(client, (struct sockaddr *)&peer, &size) < 0) return;
    if (peer.sin6_family != AF_INET6 || !is_stand_in(peer.sin6_addr.s6_addr)) return;
    memcpy(&((struct sockaddr_in6 *)local)->sin6_addr, meant[place_of(peer.sin6_addr.s6_addr)], ADDRESS);
}
