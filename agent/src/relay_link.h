/* The relay's event loop. One thread, epoll(7), bounded memory, nothing from the heap: the other thread may fork at any time. */
#ifndef GLOVEBOX_RELAY_LINK_H
#define GLOVEBOX_RELAY_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum {
    RELAY_LISTENERS_MAX = 300,
    /* The name server's, one for each family. They come first in the list. */
    RELAY_DATAGRAMS_MAX = 2,
    /* Above the gateway's own bound (GATEWAY_LIMITS.connections), so that it is the gateway who refuses, with a record. */
    RELAY_LINKS_MAX = 600,
};

struct relay_listener {
    int fd;
    /* The end of a tunnel, which is no socket; comes last in the list. */
    bool tunnel;
    bool udp;
    /* A unix socket whose clients bring their own preface: another relay, that of a guest kernel. Comes first in the list. */
    bool carried;
    /* A unix socket whose clients talk to the ssh agent that is lent. */
    bool ssh_agent;
    int family;
};

/* Where the gateway listens, and the listeners. False with errno: then nothing is relayed. All have to stay where they are. */
bool relay_begin(const struct relay_listener *listeners, size_t count, const struct sockaddr *gateway, socklen_t size);
/* Until somebody has something to say. Preconditions: relay_begin succeeded. */
void relay_await(void);
/* The same, and from then on carries it. Preconditions: relay_begin, whatever it answered. */
_Noreturn void relay_serve(const struct relay_listener *listeners, size_t count);

#endif
