/* Datagrams whose answer leaves from the address that they were sent to. */
#ifndef GLOVEBOX_DATAGRAM_H
#define GLOVEBOX_DATAGRAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

struct datagram {
    int fd;
    struct sockaddr_storage peer, local;
    socklen_t peer_size;
};

/* Length, or -1. */
ssize_t datagram_receive(int fd, int family, struct datagram *out, void *data, size_t size);
/* One that cannot be sent is lost, as ever with UDP. */
void datagram_answer(const struct datagram *question, const void *data, size_t len);

#endif
