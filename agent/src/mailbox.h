/*
 * Datagrams of one listener over one connection to the gateway: two bytes of length, two of a token, then the datagram; the answer
 * comes back with the same token. All big-endian, as in DNS over TCP.
 */
#ifndef GLOVEBOX_MAILBOX_H
#define GLOVEBOX_MAILBOX_H

#include "relay_link.h"

/* `gateway` is its connection, or -1: then nothing is answered. Answers the descriptor to watch for answers. */
int mailbox_open(size_t index, const struct relay_listener *listener, int gateway);
/* Passes on what has arrived. */
void mailbox_questions(size_t index);
void mailbox_answers(size_t index);

#endif
