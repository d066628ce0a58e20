#include "datagram.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

static bool take_local(const struct msghdr *message, int family, struct sockaddr_storage *local) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c != NULL; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
        if (family == AF_INET && c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ((struct sockaddr_in *)local)->sin_addr = info.ipi_addr;
            return true;
        }
        if (family == AF_INET6 && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo info;
            memcpy(&info, CMSG_DATA(c), sizeof info);
            ((struct sockaddr_in6 *)local)->sin6_addr = info.ipi6_addr;
            return true;
        }
    }
    return false;
}

ssize_t datagram_receive(int fd, int family, struct datagram *out, void *data, size_t size) {
    union control control;
    struct iovec piece = {data, size};
    *out = (struct datagram){.fd = fd};
    struct msghdr message = {
        .msg_name = &out->peer,
        .msg_namelen = sizeof out->peer,
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = sizeof control.bytes,
    };
    ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);
    socklen_t local = sizeof out->local;
    if (n < 0 || getsockname(fd, (struct sockaddr *)&out->local, &local) < 0) return -1;
    out->peer_size = message.msg_namelen;
    return take_local(&message, family, &out->local) ? n : -1;
}

void datagram_answer(const struct datagram *question, const void *data, size_t len) {
    union control control = {.bytes = {0}};
    struct iovec piece = {(void *)data, len};
    bool v4 = question->local.ss_family == AF_INET;
    size_t size = v4 ? sizeof(struct in_pktinfo) : sizeof(struct in6_pktinfo);
    struct msghdr message = {
        .msg_name = (void *)&question->peer,
        .msg_namelen = question->peer_size,
        .msg_iov = &piece,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(size),
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = v4 ? IPPROTO_IP : IPPROTO_IPV6;
    c->cmsg_type = v4 ? IP_PKTINFO : IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(size);
    struct in_pktinfo info4 = {.ipi_spec_dst = ((const struct sockaddr_in *)&question->local)->sin_addr};
    struct in6_pktinfo info6 = {.ipi6_addr = ((const struct sockaddr_in6 *)&question->local)->sin6_addr};
    memcpy(CMSG_DATA(c), v4 ? (void *)&info4 : (void *)&info6, size);
    sendmsg(question->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}
