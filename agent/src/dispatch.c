/* Frames from the host. The host is trusted, but a frame that makes no sense means that something is badly wrong. */
#include <signal.h>
#include <sys/ioctl.h>

#include "work.h"

enum { PING_MAX = 64 };

/* Ids only grow, so that a frame for a stream that has just closed can be told from a violation. */
static void claim_id(struct loop *l, uint32_t id) {
    if (id <= l->last_id) loop_violation(l, "stream id used before");
    l->last_id = id;
}

static void on_exec(struct loop *l, const struct frame *f, struct slice payload) {
    if (l->boot->mode != MODE_SERVE) loop_violation(l, "EXEC in one-shot mode");
    claim_id(l, f->stream);
    struct exec_spec spec;
    const char *problem = exec_parse(payload, &spec);
    if (problem != NULL) loop_violation(l, problem);
    for (int i = 0; i < 3; i++)
        if (spec.stdio[i] == STDIO_INHERIT) loop_violation(l, "inherited stdio in serve mode");
    stream_start(l, f->stream, &spec);
    arena_free(&spec.arena);
}

static void on_input(struct loop *l, struct stream *s, struct slice payload) {
    if (s->in_eof || !window_take(&s->in_window, (uint32_t)payload.len)) loop_violation(l, "input beyond the window");
    if (s->reset) return;
    loop_must(l, buf_put(&s->in_queue, payload.ptr, payload.len));
    if (!s->connecting) pump_in(l, s);
}

static void on_input_eof(struct loop *l, struct stream *s) {
    s->in_eof = true;
    if (!s->connecting) pump_in(l, s);
}

static void on_credit(struct loop *l, struct stream *s, struct slice payload) {
    if (payload.len != 8) loop_violation(l, "malformed CREDIT");
    uint32_t channel = get_u32(payload.ptr), n = get_u32(payload.ptr + 4);
    if (channel < CH_OUT || channel > CH_CONTROL) loop_violation(l, "credit for an unknown channel");
    if (!window_give(&s->out[channel - CH_OUT].credit, n, STREAM_WINDOW)) loop_violation(l, "credit beyond the window");
}

static void on_signal(struct loop *l, uint32_t stream, struct slice payload) {
    if (payload.len != 8) loop_violation(l, "malformed SIGNAL");
    uint32_t signo = get_u32(payload.ptr), flags = get_u32(payload.ptr + 4);
    if (signo == 0 || signo > 64 || flags > SIGNAL_ALL) loop_violation(l, "malformed SIGNAL");
    if (flags == SIGNAL_ALL) {
        kill_all((int)signo);
        return;
    }
    const struct stream *s = stream_find(l, stream);
    if (s != NULL && s->pid > 0) kill(-s->pid, (int)signo);
}

static void on_winsize(struct loop *l, const struct stream *s, struct slice payload) {
    if (payload.len != 4) loop_violation(l, "malformed WINSIZE");
    struct winsize size = {.ws_row = get_u16(payload.ptr), .ws_col = get_u16(payload.ptr + 2)};
    if (s->pty_fd >= 0) ioctl(s->pty_fd, TIOCSWINSZ, &size);
}

static void on_shutdown(struct loop *l, struct slice payload) {
    if (payload.len != 4) loop_violation(l, "malformed SHUTDOWN");
    if (l->shutting_down) return;
    l->shutting_down = true;
    l->kill_at_ms = now_ms() + get_u32(payload.ptr);
    work_dismiss(l);
    kill_all(SIGTERM);
    kill_all(SIGCONT);
}

static void on_ping(struct loop *l, struct slice payload) {
    size_t mark;
    if (payload.len > PING_MAX) loop_violation(l, "malformed PING");
    loop_must(l, frame_begin(&l->out, F_PONG, 0, &mark) && buf_put(&l->out, payload.ptr, payload.len));
    frame_end(&l->out, mark);
}

static void on_dial(struct loop *l, const struct frame *f, struct slice payload) {
    if (payload.len != 4 || get_u32(payload.ptr) == 0 || get_u32(payload.ptr) > 65535)
        loop_violation(l, "malformed DIAL");
    claim_id(l, f->stream);
    dial_start(l, f->stream, (uint16_t)get_u32(payload.ptr));
}

static void on_work(struct loop *l, const struct frame *f, struct slice payload) {
    if (l->boot->mode != MODE_SERVE) loop_violation(l, "a request for work in one-shot mode");
    claim_id(l, f->stream);
    work_start(l, f->stream, f->type, payload);
}

static void for_stream(struct loop *l, const struct frame *f, struct slice payload) {
    struct stream *s = stream_find(l, f->stream);
    if (s == NULL) {
        if (f->stream == 0 || f->stream > l->last_id) loop_violation(l, "frame for a stream that never was");
        return;
    }
    bool data = f->type == F_DATA || f->type == F_DATA_EOF;
    bool command = f->type == F_STDIN || f->type == F_STDIN_EOF || f->type == F_WINSIZE;
    if ((data && !s->dial && !s->work) || (command && (s->dial || s->work))) loop_violation(l, "frame for another kind of stream");
    switch (f->type) {
    case F_STDIN:
    case F_DATA: on_input(l, s, payload); break;
    case F_STDIN_EOF:
    case F_DATA_EOF: on_input_eof(l, s); break;
    case F_CREDIT: on_credit(l, s, payload); break;
    case F_WINSIZE: on_winsize(l, s, payload); break;
    default: stream_reset(s); break;
    }
}

void dispatch(struct loop *l, const struct frame *f, struct slice payload) {
    if (l->quiet != (f->type == F_GO_ON)) loop_violation(l, "a frame between QUIESCE and GO_ON");
    switch (f->type) {
    case F_EXEC: on_exec(l, f, payload); break;
    case F_DIAL: on_dial(l, f, payload); break;
    case F_FILE:
    case F_WATCH:
    case F_PROCESSES:
    case F_WAIT_PORT:
    case F_PORTS: on_work(l, f, payload); break;
    case F_SIGNAL: on_signal(l, f->stream, payload); break;
    case F_SHUTDOWN: on_shutdown(l, payload); break;
    case F_PING: on_ping(l, payload); break;
    case F_QUIESCE: quiet_begin(l); break;
    case F_GO_ON: quiet_end(l, payload); break;
    case F_STDIN:
    case F_DATA:
    case F_STDIN_EOF:
    case F_DATA_EOF:
    case F_CREDIT:
    case F_WINSIZE:
    case F_RESET: for_stream(l, f, payload); break;
    default: loop_violation(l, "unknown frame");
    }
}
