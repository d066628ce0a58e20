/* Between QUIESCE and GO_ON nothing is on its way in either direction, so that a copy of the machine can begin to speak with another host. */
#include <errno.h>

#include "loop.h"

void quiet_begin(struct loop *l) {
    if (l->boot->mode != MODE_SERVE) loop_violation(l, "QUIESCE in one-shot mode");
    loop_must(l, frame_empty(&l->out, F_QUIET, 0));
    l->quiet = true;
}

void quiet_turn(struct loop *l) {
    write_out(l);
    struct pollfd polls[] = {{.fd = CHANNEL_FD, .events = POLLIN}, {.fd = l->out.len > 0 ? l->out_fd : -1, .events = POLLOUT}};
    if (poll(polls, sizeof polls / sizeof *polls, -1) < 0 && errno != EINTR) loop_fatal(l, ERR_INTERNAL, "poll", "failed");
    if (polls[0].revents != 0) read_frames(l);
}

void orphan_hush(struct loop *l, struct stream *s, size_t before) {
    l->out.len = before;
    for (int i = 0; i < OUT_CHANNELS; i++) s->out[i].credit = STREAM_WINDOW;
}

/* Commands go on. Connections of the former host, and what it asked for, have an end. */
static void leave_behind(struct loop *l) {
    for (struct stream *s = l->streams; s != NULL; s = s->next) {
        if (s->orphan) continue;
        s->orphan = true;
        l->orphan_count++;
        if (s->dial || s->work) stream_reset(s);
        orphan_hush(l, s, l->out.len);
    }
    l->last_id = 0;
    queue_hello(l);
}

void quiet_end(struct loop *l, struct slice payload) {
    struct tlv t;
    uint8_t copy = 0;
    while (tlv_next(&payload, &t) == 1)
        if (t.tag != GO_COPY || !slice_u8(t.value, &copy) || copy > 1) loop_violation(l, "malformed GO_ON");
    if (payload.len > 0) loop_violation(l, "malformed GO_ON");
    l->quiet = false;
    if (copy == 1) leave_behind(l);
}
