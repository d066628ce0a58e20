/* Connections from the host to a port inside (--publish). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "loop.h"

static int connect_loopback(uint16_t port, bool ipv6) {
    int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int result = ipv6 ? connect(fd, (struct sockaddr *)&v6, sizeof v6) : connect(fd, (struct sockaddr *)&v4, sizeof v4);
    if (result == 0 || errno == EINPROGRESS) return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static void refused(struct loop *l, struct stream *s, int err) {
    size_t mark;
    loop_must(l, frame_begin(&l->out, F_RESET, s->id, &mark) && tlv_u32(&l->out, RESET_ERRNO, (uint32_t)err));
    frame_end(&l->out, mark);
    stream_reset(s);
}

/* Tries 127.0.0.1, then ::1. */
static void try_connect(struct loop *l, struct stream *s) {
    int fd = connect_loopback(s->port, s->dial_v6);
    int err = errno;
    if (fd < 0 && !s->dial_v6) {
        s->dial_v6 = true;
        fd = connect_loopback(s->port, true);
    }
    if (fd < 0) refused(l, s, err);
    else s->in_fd = fd;
}

void dial_start(struct loop *l, uint32_t id, uint16_t port) {
    struct stream *s = stream_new(l, id);
    s->dial = s->connecting = true;
    s->port = port;
    try_connect(l, s);
}

void dial_ready(struct loop *l, struct stream *s) {
    int err = 0;
    socklen_t len = sizeof err;
    if (getsockopt(s->in_fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0) err = errno;
    if (err != 0) {
        close_fd(&s->in_fd);
        if (s->dial_v6) {
            refused(l, s, err);
            return;
        }
        s->dial_v6 = true;
        try_connect(l, s);
        return;
    }
    s->out[0].fd = fcntl(s->in_fd, F_DUPFD_CLOEXEC, 3);
    if (s->out[0].fd < 0) {
        refused(l, s, errno);
        return;
    }
    s->connecting = false;
    loop_must(l, frame_empty(&l->out, F_DIAL_OK, s->id));
    pump_in(l, s);
}
