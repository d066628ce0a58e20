#include "vsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fail.h"
#include "proto.h"

enum { BACKLOG = 8, DECIMAL = 10 };

/* The kernel makes what it does not know of its command line the first process' environment. */
static const char variable[] = "glovebox_vsock";

static int channel_listener = -1;

bool vsock_wanted(void) { return getenv(variable) != NULL; }

bool vsock_parse(const char *text, uint32_t *host) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, DECIMAL);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value == 0 || value >= K_VMADDR_CID_ANY) return false;
    *host = (uint32_t)value;
    return true;
}

static uint32_t host_address(void) {
    const char *text = getenv(variable);
    uint32_t host;
    if (text == NULL || !vsock_parse(text, &host)) fail_msg("parse", variable, "not an address of the host");
    return host;
}

struct k_sockaddr_vm vsock_gateway(uint32_t port) {
    return (struct k_sockaddr_vm){.family = AF_VSOCK, .port = port, .cid = host_address()};
}

static int open_listener(uint32_t port) {
    const struct k_sockaddr_vm at = {.family = AF_VSOCK, .port = port, .cid = K_VMADDR_CID_ANY};
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&at, sizeof at) < 0 || listen(listener, BACKLOG) < 0)
        fail_sys("listen", "vsock");
    return listener;
}

void vsock_listen(void) { channel_listener = open_listener(VSOCK_AGENT_PORT); }

/* A connection that its host gave up before it was taken is none; nor is one of somebody else. */
static int next_connection(int listener, uint32_t host) {
    for (;;) {
        struct k_sockaddr_vm from = {0};
        socklen_t size = sizeof from;
        int fd = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
        if (fd < 0 && errno != EINTR && errno != ECONNRESET && errno != ECONNABORTED && errno != ENOTCONN)
            fail_sys("accept", "vsock");
        if (fd >= 0 && from.cid == host) return fd;
        if (fd >= 0) close(fd);
    }
}

void vsock_accept(void) {
    int fd = next_connection(channel_listener, host_address());
    if (fd != CHANNEL_FD) {
        if (dup3(fd, CHANNEL_FD, O_CLOEXEC) < 0) fail_sys("dup3", "vsock");
        close(fd);
    }
    fail_channel(CHANNEL_FD);
}

int vsock_files(void) {
    int listener = open_listener(VSOCK_FILES_PORT), fd = next_connection(listener, host_address());
    close(listener);
    return fd;
}

bool vsock_await_word(void) {
    char first;
    for (;;) {
        ssize_t n = recv(CHANNEL_FD, &first, 1, MSG_PEEK);
        if (n < 0 && errno == EINTR) continue;
        return n == 1;
    }
}
