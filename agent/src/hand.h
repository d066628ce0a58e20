/*
 * Hands: forked children of the agent that do work, each one request at a time. Forking costs a guest kernel milliseconds, so
 * one that has done a file operation stays for the next. Commands may signal, stop and kill hands, as they may each other:
 * one that was killed while it had nothing to do costs nobody a request.
 */
#ifndef GLOVEBOX_HAND_H
#define GLOVEBOX_HAND_H

#include "work.h"

enum {
    /* Requests with longer paths than anybody has are done by a hand of their own. */
    HAND_REQUEST_MAX = 16 * 1024,
    /* DONE's payload. */
    HAND_RESULT_MAX = 12 * 1024,
};

/* A page that the agent and one hand share. Requests are numbered from 1. */
struct hand_page {
    volatile uint32_t begun;    /* written by the hand: the request that it has taken */
    volatile uint32_t given_up; /* written by the agent: the request that nobody waits for any more */
};

/* The agent's side. */
struct hand {
    pid_t pid;
    int fd; /* requests go out, results come in: a socket, which nobody can open below /proc/PID/fd; -1 once it is dismissed */
    uint32_t turn; /* number of the last request */
    struct hand_page *page;
    struct hand *next;
};

/* In front of a request's payload. Its descriptors come along: content in, data out, as far as the request has them. */
struct hand_request {
    uint32_t turn;
    uint16_t type;
    uint8_t has_in, has_out;
};

/* A new hand that does this request first; it stays when `w->stays`. NULL, with the result in `w`, when there can be none. */
struct hand *hand_fork(struct worker *w, int in, int out);
/* Hands it another request. False when that is impossible; it is then of no use any more. */
bool hand_give(struct hand *h, uint16_t type, struct slice payload, int in, int out);
/* True when the last request was taken, so that it must not be done again. */
static inline bool hand_has_begun(const struct hand *h) { return h->page->begun == h->turn; }
/* It ends as soon as it looks for the next request. */
void hand_dismiss(struct hand *h);
/* Once it is reaped. */
void hand_free(struct hand *h);

#endif
