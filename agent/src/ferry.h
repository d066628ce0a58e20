/* Carries a channel between the machine's port and a socket. */
#ifndef GLOVEBOX_FERRY_H
#define GLOVEBOX_FERRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LANE_BYTES = 64 * 1024 };

/* One direction. What was read and not yet written is at `data + at`. */
struct lane {
    int from, to;
    bool open; /* more may come */
    size_t at, len;
    uint8_t data[LANE_BYTES];
};

/* Both descriptors must not block. */
struct ferry {
    int port, socket;
    struct lane in, out; /* from the port, to the port */
};

void ferry_begin(struct ferry *f, int port, int socket);

/* Carries what there is, and waits until there may be more, or until a SIGCHLD, which the caller has blocked and gave a handler. */
void ferry_turn(struct ferry *f);

/* The socket's other end is gone: what it wrote before goes to the port, however long that takes. */
void ferry_finish(struct ferry *f);

#endif
