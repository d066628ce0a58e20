#include "relay.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "fail.h"
#include "net.h"
#include "proto.h"
#include "relay_link.h"
#include "tunnel.h"

/* One socket for TCP, two for UDP: a reply has to leave from the address that was asked, and each family says it in its own way. */
static struct {
    struct relay_listener items[RELAY_LISTENERS_MAX];
    size_t count;
    struct sockaddr_un gateway;
    sem_t taken;
} relay;

static void add_listener(const struct listener *l, int family) {
    char name[24];
    snprintf(name, sizeof name, "%s/%u", l->proto == PROTO_TCP ? "tcp" : "udp", l->port);
    if (relay.count == RELAY_LISTENERS_MAX) fail_msg("listen", name, "too many listeners");
    int fd = l->proto == PROTO_TCP ? net_listener(l, family == AF_INET6) : net_datagram(l->port, family);
    if (fd < 0) fail_sys("listen", name);
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) fail_sys("fcntl", name);
    relay.items[relay.count++] = (struct relay_listener){.fd = fd, .udp = l->proto == PROTO_UDP, .family = family};
}

/* Linux has routes for this, gVisor only subnets, and those for IPv4 alone. Answers the tunnel of IPv6, or -1 where none is needed. */
static int own_every_address(const struct boot_spec *spec) {
    if ((spec->flags & BOOT_OWN_NETWORK) != 0 && net_any_ip(AF_INET)) {
        net_any_ip(AF_INET6);
        return -1;
    }
    if (!net_every_address()) fail_sys("address", "0.0.0.0/0");
    int tunnel = tunnel_open();
    if (tunnel < 0) fail_sys("tunnel", "::/0");
    return tunnel;
}

static void open_listeners(const struct listeners *list) {
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].proto != PROTO_UDP) continue;
        if (relay.count == RELAY_DATAGRAMS_MAX) fail_msg("listen", "udp", "more than one UDP port");
        add_listener(&list->items[i], AF_INET);
        add_listener(&list->items[i], AF_INET6);
    }
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].proto == PROTO_TCP) add_listener(&list->items[i], AF_INET6);
}

void relay_own_addresses(void) {
    if (!net_loopback_up()) fail_sys("loopback up", NULL);
    if (!net_any_ip(AF_INET)) fail_sys("route", "0.0.0.0/0");
    if (!net_any_ip(AF_INET6)) fail_sys("route", "::/0");
}

void relay_listen_linux(const struct listeners *list) { open_listeners(list); }

static int open_unix(const char *path, uid_t owner) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) < 0 || listen(fd, RELAY_LINKS_MAX) < 0)
        fail_sys("listen", path);
    if (chmod(path, 0600) < 0 || chown(path, owner, (gid_t)-1) < 0) fail_sys("chown", path);
    return fd;
}

void relay_listen_unix(const char *path, uid_t owner) {
    relay.items[relay.count++] = (struct relay_listener){.fd = open_unix(path, owner), .carried = true};
}

void relay_listen_ssh_agent(const char *path, uid_t owner) {
    if (relay.count == RELAY_LISTENERS_MAX) fail_msg("listen", path, "too many listeners");
    relay.items[relay.count++] = (struct relay_listener){.fd = open_unix(path, owner), .ssh_agent = true};
}

void relay_connect(const struct sockaddr *gateway, socklen_t size) {
    if (!relay_begin(relay.items, relay.count, gateway, size)) fail_sys("connect", "relay");
}

_Noreturn void relay_run(void (*speaks)(void)) {
    relay_await();
    speaks();
    relay_serve(relay.items, relay.count);
}

void relay_listen(const struct boot_spec *spec) {
    fail_stage("network");
    if (spec->relay == NULL) return;
    if (strlen(spec->relay) >= sizeof relay.gateway.sun_path) fail_msg("relay", spec->relay, "the path is too long");
    relay.gateway.sun_family = AF_UNIX;
    strcpy(relay.gateway.sun_path, spec->relay);
    int tunnel = own_every_address(spec);
    open_listeners(&spec->listeners);
    if (tunnel >= 0 && relay.count == RELAY_LISTENERS_MAX) fail_msg("listen", "tunnel", "too many listeners");
    if (tunnel >= 0) relay.items[relay.count++] = (struct relay_listener){.fd = tunnel, .tunnel = true};
}

/* A table of our own: what the main thread forks must not keep connections open, and we must not keep its channel. */
static void own_descriptors(void) {
    if (unshare(CLONE_FILES) < 0) fail_sys("unshare", "files");
    int high = 0;
    for (size_t i = 0; i < relay.count; i++)
        if (relay.items[i].fd > high) high = relay.items[i].fd;
    for (int fd = 0; fd < high; fd++) {
        bool ours = false;
        for (size_t i = 0; i < relay.count; i++) ours = ours || relay.items[i].fd == fd;
        if (!ours) close(fd);
    }
}

static void *relay_main(void *unused) {
    (void)unused;
    own_descriptors();
    sem_post(&relay.taken);
    relay_begin(relay.items, relay.count, (const struct sockaddr *)&relay.gateway, sizeof relay.gateway);
    relay_serve(relay.items, relay.count);
}

void relay_start(void) {
    pthread_t thread;
    sigset_t all, before;
    if (relay.count == 0) return;
    fail_stage("relay");
    sigfillset(&all);
    sem_init(&relay.taken, 0, 0);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = pthread_create(&thread, NULL, relay_main, NULL);
    if (errno != 0) fail_sys("pthread_create", NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void relay_release(void) {
    if (relay.count == 0) return;
    while (sem_wait(&relay.taken) < 0) continue;
    for (size_t i = 0; i < relay.count; i++) close(relay.items[i].fd);
}
