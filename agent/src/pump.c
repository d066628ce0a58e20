#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "loop.h"

static void source_closed(struct loop *l, struct stream *s, int channel) {
    close_fd(&s->out[channel - CH_OUT].fd);
    if (s->dial || s->work) {
        loop_must(l, frame_empty(&l->out, F_DATA_EOF, s->id));
        return;
    }
    size_t mark;
    uint8_t value[4] = {(uint8_t)channel};
    loop_must(l, frame_begin(&l->out, F_OUT_EOF, s->id, &mark) && buf_put(&l->out, value, sizeof value));
    frame_end(&l->out, mark);
}

static uint16_t data_type(const struct stream *s, int channel) {
    if (s->dial || s->work) return F_DATA;
    return channel == CH_OUT ? F_STDOUT : channel == CH_ERR ? F_STDERR : F_DATA;
}

/* Reads straight into the output queue behind a frame header; takes the header back when nothing came. */
static ssize_t read_frame(struct loop *l, struct stream *s, int channel, uint32_t limit) {
    size_t before = l->out.len, mark;
    loop_must(l, frame_begin(&l->out, data_type(s, channel), s->id, &mark) && buf_reserve(&l->out, limit));
    ssize_t n = read(s->out[channel - CH_OUT].fd, buf_head(&l->out) + l->out.len, limit);
    if (n <= 0) {
        l->out.len = before;
        return n;
    }
    l->out.len += (size_t)n;
    frame_end(&l->out, mark);
    return n;
}

enum pump_result pump_out(struct loop *l, struct stream *s, int channel, bool all) {
    struct source *source = &s->out[channel - CH_OUT];
    if (source->fd < 0) return PUMP_CLOSED;
    do {
        if (source->credit == 0 || l->out.len >= OUT_HIGH) return PUMP_LIMITED;
        uint32_t limit = source->credit < READ_CHUNK ? source->credit : READ_CHUNK;
        ssize_t n = read_frame(l, s, channel, limit);
        if (n < 0 && errno == EAGAIN) return PUMP_IDLE;
        if (n < 0 && errno == EINTR) continue;
        /* A terminal whose last user closed it answers EIO: tty_ioctl(4), pty(7). A connection may answer ECONNRESET. */
        if (n <= 0) {
            source_closed(l, s, channel);
            return PUMP_CLOSED;
        }
        window_take(&source->credit, (uint32_t)n);
    } while (all);
    return PUMP_LIMITED;
}

static void give_credit(struct loop *l, struct stream *s) {
    if (s->in_consumed < CREDIT_STEP || s->in_eof) return;
    uint8_t value[8] = {CH_IN};
    for (int i = 0; i < 4; i++) value[4 + i] = (uint8_t)(s->in_consumed >> (8 * i));
    size_t mark;
    loop_must(l, frame_begin(&l->out, F_CREDIT, s->id, &mark) && buf_put(&l->out, value, sizeof value));
    frame_end(&l->out, mark);
    window_give(&s->in_window, s->in_consumed, STREAM_WINDOW);
    s->in_consumed = 0;
}

/* The reader is gone or never was: what still comes is thrown away, so that the host's writer is not stuck. */
static void discard(struct stream *s) {
    s->in_consumed += (uint32_t)s->in_queue.len;
    buf_consume(&s->in_queue, s->in_queue.len);
    close_fd(&s->in_fd);
}

/* End of input: a terminal gets its end-of-file character (termios(3), VEOF), a socket a half close. */
static void finish_input(struct stream *s) {
    static const char end_of_transmission = 4;
    if (s->in_fd < 0) return;
    if (s->dial || s->out[CH_CONTROL - CH_OUT].fd >= 0) shutdown(s->in_fd, SHUT_WR);
    else if (s->pty_fd >= 0 && write(s->in_fd, &end_of_transmission, 1) < 0 && errno == EAGAIN) return;
    close_fd(&s->in_fd);
}

void pump_in(struct loop *l, struct stream *s) {
    while (s->in_fd >= 0 && s->in_queue.len > 0) {
        ssize_t n = write(s->in_fd, buf_head(&s->in_queue), s->in_queue.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) break;
        if (n < 0) break;
        buf_consume(&s->in_queue, (size_t)n);
        s->in_consumed += (uint32_t)n;
    }
    bool stuck = s->in_queue.len > 0 && s->in_fd >= 0 && errno == EAGAIN;
    if (s->in_queue.len > 0 && !stuck) discard(s);
    if (s->in_queue.len == 0 && s->in_eof) finish_input(s);
    if (s->in_queue.len == 0 && s->in_queue.cap > READ_CHUNK) buf_free(&s->in_queue);
    give_credit(l, s);
}
