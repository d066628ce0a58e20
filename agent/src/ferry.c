#include "ferry.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

void ferry_begin(struct ferry *f, int port, int socket) {
    f->port = port;
    f->socket = socket;
    f->in = (struct lane){.from = port, .to = socket, .open = true};
    f->out = (struct lane){.from = socket, .to = port, .open = true};
}

static bool later(void) { return errno == EAGAIN || errno == EINTR; }

static void lane_fill(struct lane *l) {
    if (!l->open || l->len > 0) return;
    ssize_t n = read(l->from, l->data, sizeof l->data);
    if (n < 0 && later()) return;
    l->open = n > 0;
    l->at = 0;
    l->len = n > 0 ? (size_t)n : 0;
}

/* True when it carried anything. */
static bool lane_turn(struct lane *l) {
    lane_fill(l);
    if (l->len == 0) return false;
    ssize_t n = write(l->to, l->data + l->at, l->len);
    if (n < 0 && later()) return false;
    if (n < 0) {
        /* Nobody takes it any more. */
        l->open = false;
        l->len = 0;
        return false;
    }
    l->at += (size_t)n;
    l->len -= (size_t)n;
    return true;
}

static short wanted(const struct lane *from, const struct lane *to) {
    return (short)((from->open && from->len == 0 ? POLLIN : 0) | (to->len > 0 ? POLLOUT : 0));
}

/* A port that hangs up would be ready for ever. */
static void await(struct ferry *f) {
    short port = wanted(&f->in, &f->out), socket = wanted(&f->out, &f->in);
    struct pollfd ready[2] = {{.fd = port == 0 ? -1 : f->port, .events = port},
                              {.fd = socket == 0 ? -1 : f->socket, .events = socket}};
    sigset_t none;
    sigemptyset(&none);
    ppoll(ready, 2, NULL, &none);
}

void ferry_turn(struct ferry *f) {
    bool more = true;
    while (more) {
        bool in = lane_turn(&f->in);
        more = lane_turn(&f->out) || in;
    }
    if (!f->in.open && f->in.len == 0 && f->out.open) {
        /* The host is gone. There is nobody whom anything could be carried to. */
        shutdown(f->socket, SHUT_RDWR);
        f->out.open = false;
        f->out.len = 0;
    }
    await(f);
}

void ferry_finish(struct ferry *f) {
    if (fcntl(f->port, F_SETFL, 0) < 0) return;
    while (lane_turn(&f->out)) continue;
}
