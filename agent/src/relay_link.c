#include "relay_link.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailbox.h"
#include "proto.h"
#include "tunnel.h"

enum {
    CHUNK = 64 * 1024,
    /* Reads of one direction before others get their turn. */
    TURNS = 8,
    EVENTS = 64,
};

/* What an event is about. */
enum what { ON_LISTENER, ON_CONTROL, ON_CLIENT, ON_GATEWAY, ON_MAILBOX };

/* One direction. `rest` holds what its sink did not take, and is there only then. */
struct flow {
    uint8_t *rest;
    size_t at, len;
    bool eof, closed;
};

struct link {
    bool used, reset;
    /* Brings its own preface, and has shown it. */
    bool carried, known;
    uint16_t generation;
    uint32_t id;
    int client, gateway;
    uint32_t client_events, gateway_events;
    struct flow up, down;
};

static struct link links[RELAY_LINKS_MAX];
static uint8_t chunk[CHUNK];
static const struct sockaddr *gateway_at;
static socklen_t gateway_size;
static int poller = -1, control = -1;
static uint32_t last_id;
/* The control connection of the relay that is carried. */
static struct link *carried_control;

static uint64_t tag_of(enum what what, size_t index, uint16_t generation) {
    return (uint64_t)what << 48 | (uint64_t)generation << 32 | (uint64_t)index;
}

static void watch(int fd, uint32_t *now, uint32_t wanted, uint64_t tag) {
    if (*now == wanted) return;
    struct epoll_event event = {.events = wanted, .data.u64 = tag};
    epoll_ctl(poller, *now == 0 ? EPOLL_CTL_ADD : wanted == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &event);
    *now = wanted;
}

/* A descriptor without a reason to be watched is taken out: epoll(7) would report its hang-up for ever. */
static void rewatch(struct link *l) {
    size_t index = (size_t)(l - links);
    uint32_t client = (l->up.rest == NULL && !l->up.eof ? EPOLLIN : 0u) | (l->down.rest != NULL ? EPOLLOUT : 0u);
    uint32_t gateway = (l->down.rest == NULL && !l->down.eof ? EPOLLIN : 0u) | (l->up.rest != NULL ? EPOLLOUT : 0u);
    watch(l->client, &l->client_events, client, tag_of(ON_CLIENT, index, l->generation));
    watch(l->gateway, &l->gateway_events, gateway, tag_of(ON_GATEWAY, index, l->generation));
}

static void forget(struct flow *f) {
    if (f->rest != NULL) munmap(f->rest, CHUNK);
    *f = (struct flow){0};
}

static void close_with_reset(int fd) {
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

/* The relay that is carried has no other way to know, as its gateway is a unix socket: see `read_control`. */
static void tell_reset(const struct link *l) {
    if (!l->carried || !l->known || carried_control == NULL || carried_control == l) return;
    send(carried_control->client, &l->id, sizeof l->id, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void end_link(struct link *l, bool reset) {
    if (reset) tell_reset(l);
    if (carried_control == l) carried_control = NULL;
    if (reset) close_with_reset(l->client);
    else close(l->client);
    close(l->gateway);
    forget(&l->up);
    forget(&l->down);
    l->used = false;
}

/* Which connections the gateway has cut: it says so before it closes them, because a unix socket knows no RST. */
static void read_control(void) {
    uint32_t ids[64];
    for (;;) {
        ssize_t n = control < 0 ? -1 : recv(control, ids, sizeof ids, MSG_DONTWAIT);
        if (n == 0) {
            close(control);
            control = -1;
        }
        if (n <= 0) return;
        for (size_t i = 0; i < (size_t)n / sizeof *ids; i++)
            for (struct link *l = links; l < links + RELAY_LINKS_MAX; l++)
                if (l->used && l->id == ids[i]) l->reset = true;
    }
}

/* False when memory is exhausted. */
static bool keep_rest(struct flow *f, const uint8_t *data, size_t len) {
    void *rest = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (rest == MAP_FAILED) return false;
    memcpy(rest, data, len);
    f->rest = rest;
    f->at = 0;
    f->len = len;
    return true;
}

/* Bytes taken; -1 when the sink is gone. */
static ssize_t give(int to, const uint8_t *data, size_t len) {
    for (;;) {
        ssize_t n = send(to, data, len, MSG_NOSIGNAL);
        if (n >= 0) return n;
        if (errno == EAGAIN) return 0;
        if (errno != EINTR) return -1;
    }
}

static bool give_rest(struct flow *f, int to) {
    ssize_t n = give(to, f->rest + f->at, f->len);
    if (n < 0) return false;
    f->at += (size_t)n;
    f->len -= (size_t)n;
    if (f->len > 0) return true;
    munmap(f->rest, CHUNK);
    f->rest = NULL;
    return true;
}

/* Moves what is there; false when the connection is broken. */
static bool move(struct flow *f, int from, int to) {
    if (f->rest != NULL && !give_rest(f, to)) return false;
    for (int turn = 0; turn < TURNS && f->rest == NULL && !f->eof; turn++) {
        ssize_t n = recv(from, chunk, sizeof chunk, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno == EAGAIN;
        if (n == 0) {
            f->eof = true;
            break;
        }
        ssize_t taken = give(to, chunk, (size_t)n);
        if (taken < 0) return false;
        if (taken < n && !keep_rest(f, chunk + taken, (size_t)(n - taken))) return false;
        if ((size_t)n < sizeof chunk) break;
    }
    return true;
}

static void end_flow(struct flow *f, int to) {
    if (!f->eof || f->rest != NULL || f->closed) return;
    shutdown(to, SHUT_WR);
    f->closed = true;
}

/* What a carried connection is, once it has said so. Its first piece is the whole preface: a unix socket keeps what one call sent together. */
static bool learn(struct link *l) {
    uint8_t preface[RELAY_PREFACE];
    ssize_t n = recv(l->client, preface, sizeof preface, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    if (n < (ssize_t)sizeof preface) return false;
    memcpy(&l->id, preface + 4, sizeof l->id);
    l->known = true;
    if (preface[0] == RELAY_CONTROL && carried_control == NULL) carried_control = l;
    return true;
}

static void on_stream(struct link *l) {
    if (l->carried && !l->known && !learn(l)) {
        end_link(l, true);
        return;
    }
    if (!move(&l->up, l->client, l->gateway) || !move(&l->down, l->gateway, l->client)) {
        end_link(l, true);
        return;
    }
    if (l->down.eof && !l->down.closed) {
        read_control();
        if (l->reset) {
            end_link(l, true);
            return;
        }
    }
    end_flow(&l->up, l->gateway);
    end_flow(&l->down, l->client);
    if (l->up.closed && l->down.closed) end_link(l, false);
    else rewatch(l);
}

static struct link *free_link(void) {
    for (struct link *l = links; l < links + RELAY_LINKS_MAX; l++) {
        if (l->used) continue;
        *l = (struct link){.used = true, .generation = (uint16_t)(l->generation + 1), .id = ++last_id, .client = -1};
        return l;
    }
    return NULL;
}

/* The preface of every connection to the gateway: what arrived, and where it was meant to go. */
static void make_preface(uint8_t *preface, uint8_t kind, uint32_t id, const struct sockaddr_storage *local) {
    memset(preface, 0, RELAY_PREFACE);
    preface[0] = kind;
    for (int i = 0; i < 4; i++) preface[4 + i] = (uint8_t)(id >> (8 * i));
    if (local != NULL && local->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)local;
        preface[1] = 4;
        memcpy(preface + 2, &v4->sin_port, 2);
        memcpy(preface + 8, &v4->sin_addr, 4);
    }
    if (local != NULL && local->ss_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)local;
        preface[1] = 6;
        memcpy(preface + 2, &v6->sin6_port, 2);
        memcpy(preface + 8, &v6->sin6_addr, 16);
    }
}

/* A connection to the gateway, perhaps not yet made, or -1. A unix socket is connected at once, or not at all. */
static int dial_gateway(int flags) {
    int on = 1, fd = socket(gateway_at->sa_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0) return -1;
    if (gateway_at->sa_family == AF_INET) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, gateway_at, gateway_size) == 0 || errno == EINPROGRESS) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* For the few that are opened before anything is carried: waits until it is there. -1 with errno. */
static int open_gateway(uint8_t kind, const struct sockaddr_storage *local) {
    uint8_t preface[RELAY_PREFACE];
    int fd = dial_gateway(0);
    if (fd < 0) return -1;
    make_preface(preface, kind, 0, local);
    bool ok = send(fd, preface, sizeof preface, MSG_NOSIGNAL) == (ssize_t)sizeof preface && fcntl(fd, F_SETFL, O_NONBLOCK) == 0;
    if (ok) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* For one of many: the preface is what has to be sent first, whenever that will be. */
static bool link_gateway(struct link *l, uint8_t kind, const struct sockaddr_storage *local) {
    uint8_t preface[RELAY_PREFACE];
    /* Connecting to a unix socket that does not block fails where one that does would wait for its turn. */
    l->gateway = dial_gateway(gateway_at->sa_family == AF_UNIX ? 0 : SOCK_NONBLOCK);
    if (l->gateway < 0) return false;
    make_preface(preface, kind, l->id, local);
    bool ok = gateway_at->sa_family == AF_UNIX
                  ? send(l->gateway, preface, sizeof preface, MSG_NOSIGNAL) == (ssize_t)sizeof preface &&
                        fcntl(l->gateway, F_SETFL, O_NONBLOCK) == 0
                  : keep_rest(&l->up, preface, sizeof preface);
    if (!ok) close(l->gateway);
    return ok;
}

static void take_connection(int client, uint8_t kind) {
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    int on = 1;
    struct link *l = getsockname(client, (struct sockaddr *)&local, &size) < 0 ? NULL : free_link();
    if (l == NULL) {
        close_with_reset(client);
        return;
    }
    tunnel_destination(client, &local);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    l->client = client;
    if (!link_gateway(l, kind, &local)) {
        close_with_reset(client);
        l->used = false;
        return;
    }
    rewatch(l);
}

static void carry_connection(int client) {
    struct link *l = free_link();
    int gateway = l == NULL ? -1 : dial_gateway(SOCK_NONBLOCK);
    if (gateway < 0) {
        if (l != NULL) l->used = false;
        close(client);
        return;
    }
    l->carried = true;
    l->client = client;
    l->gateway = gateway;
    rewatch(l);
}

static void on_listener(const struct relay_listener *from) {
    int client = accept4(from->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) return;
    if (from->carried) carry_connection(client);
    else take_connection(client, from->ssh_agent ? RELAY_SSH_AGENT : RELAY_TCP);
}

static void on_event(const struct relay_listener *listeners, uint64_t tag) {
    size_t index = tag & 0xffffffffu;
    enum what what = (enum what)(tag >> 48);
    if (what == ON_LISTENER && listeners[index].udp) mailbox_questions(index);
    if (what == ON_LISTENER && listeners[index].tunnel) tunnel_packets(listeners[index].fd);
    if (what == ON_LISTENER && !listeners[index].udp && !listeners[index].tunnel) on_listener(&listeners[index]);
    if (what == ON_CONTROL) read_control();
    if (what == ON_MAILBOX) mailbox_answers(index);
    if (what != ON_CLIENT && what != ON_GATEWAY) return;
    struct link *l = &links[index];
    /* An earlier event of the same batch may have ended it. */
    if (!l->used || l->generation != (uint16_t)(tag >> 32)) return;
    on_stream(l);
}

static void add(int fd, uint64_t tag) {
    uint32_t none = 0;
    if (fd >= 0) watch(fd, &none, EPOLLIN, tag);
}

/* The connection that carries the datagrams of one listener. */
static int open_mail(int listener) {
    struct sockaddr_storage local;
    socklen_t size = sizeof local;
    return getsockname(listener, (struct sockaddr *)&local, &size) < 0 ? -1 : open_gateway(RELAY_UDP, &local);
}

bool relay_begin(const struct relay_listener *listeners, size_t count, const struct sockaddr *gateway, socklen_t size) {
    gateway_at = gateway;
    gateway_size = size;
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; poller >= 0 && i < count; i++) add(listeners[i].fd, tag_of(ON_LISTENER, i, 0));
    return poller >= 0;
}

/* A sandbox that starts has nothing to say yet, and an emulated kernel takes long to connect: it waits for the first who has. */
static void open_shared(const struct relay_listener *listeners, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (listeners[i].udp) add(mailbox_open(i, &listeners[i], open_mail(listeners[i].fd)), tag_of(ON_MAILBOX, i, 0));
    if (count > 0 && listeners[0].carried) return;
    control = open_gateway(RELAY_CONTROL, NULL);
    add(control, tag_of(ON_CONTROL, 0, 0));
}

void relay_await(void) {
    struct pollfd somebody = {.fd = poller, .events = POLLIN};
    while (poll(&somebody, 1, -1) != 1) continue;
}

_Noreturn void relay_serve(const struct relay_listener *listeners, size_t count) {
    struct epoll_event events[EVENTS];
    relay_await();
    open_shared(listeners, count);
    for (;;) {
        int n = epoll_wait(poller, events, EVENTS, -1);
        for (int i = 0; i < n; i++) on_event(listeners, events[i].data.u64);
    }
}
