#include "mailbox.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "datagram.h"

enum {
    HEAD = 4,
    DATAGRAM_MAX = 4096,
    /* Questions that wait for an answer; an older one is forgotten, as one that was lost would be. */
    WAITING = 512,
    /* Questions passed on before others get their turn. */
    TURNS = 16,
};

static struct mailbox {
    const struct relay_listener *listener;
    int gateway;
    uint16_t token;
    struct datagram waiting[WAITING];
    uint8_t answers[2 * (HEAD + UINT16_MAX)];
    size_t len;
} boxes[RELAY_DATAGRAMS_MAX];

/* Listeners are few, and datagrams come first among them. */
static struct mailbox *box_of(size_t index) { return index < RELAY_DATAGRAMS_MAX ? &boxes[index] : NULL; }

int mailbox_open(size_t index, const struct relay_listener *listener, int gateway) {
    struct mailbox *b = box_of(index);
    if (b == NULL) return -1;
    b->listener = listener;
    b->gateway = gateway;
    return gateway;
}

static void put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

/* All or nothing: a gateway that takes no more is asked no more, and what waits in its socket is answered first. */
static void pass_on(struct mailbox *b, const uint8_t *data, size_t len) {
    size_t sent = 0;
    while (sent < len) {
        ssize_t n = send(b->gateway, data + sent, len - sent, MSG_NOSIGNAL | (sent == 0 ? MSG_DONTWAIT : 0));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN && sent == 0) return;
        if (n < 0) {
            close(b->gateway);
            b->gateway = -1;
            return;
        }
        sent += (size_t)n;
    }
}

void mailbox_questions(size_t index) {
    struct mailbox *b = box_of(index);
    uint8_t data[HEAD + DATAGRAM_MAX];
    for (int turn = 0; b != NULL && turn < TURNS; turn++) {
        uint16_t token = b->token;
        struct datagram *question = &b->waiting[token % WAITING];
        ssize_t n = datagram_receive(b->listener->fd, b->listener->family, question, data + HEAD, DATAGRAM_MAX);
        if (n < 0) return;
        b->token++;
        put_u16(data, (uint16_t)n);
        put_u16(data + 2, token);
        if (b->gateway >= 0) pass_on(b, data, HEAD + (size_t)n);
    }
}

static void answer_one(struct mailbox *b, const uint8_t *message, size_t len) {
    uint16_t token = (uint16_t)(message[2] << 8 | message[3]);
    uint16_t age = (uint16_t)(b->token - token);
    if (age == 0 || age > WAITING) return;
    datagram_answer(&b->waiting[token % WAITING], message + HEAD, len);
}

void mailbox_answers(size_t index) {
    struct mailbox *b = box_of(index);
    if (b == NULL || b->gateway < 0) return;
    ssize_t n = recv(b->gateway, b->answers + b->len, sizeof b->answers - b->len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        close(b->gateway);
        b->gateway = -1;
        return;
    }
    b->len += (size_t)n;
    size_t at = 0;
    while (b->len - at >= HEAD) {
        size_t len = (size_t)b->answers[at] << 8 | b->answers[at + 1];
        if (b->len - at < HEAD + len) break;
        answer_one(b, b->answers + at, len);
        at += HEAD + len;
    }
    memmove(b->answers, b->answers + at, b->len - at);
    b->len -= at;
}
