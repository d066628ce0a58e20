#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "loop.h"
#include "spawn.h"
#include "work.h"

void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

struct stream *stream_new(struct loop *l, uint32_t id) {
    if (l->stream_count - l->orphan_count >= STREAM_MAX) loop_violation(l, "too many streams");
    struct stream *s = calloc(1, sizeof *s);
    loop_must(l, s != NULL);
    *s = (struct stream){
        .id = id,
        .in_fd = -1,
        .pty_fd = -1,
        .in_window = STREAM_WINDOW,
        .out = {{-1, STREAM_WINDOW}, {-1, STREAM_WINDOW}, {-1, STREAM_WINDOW}},
        .next = l->streams,
    };
    l->streams = s;
    l->stream_count++;
    return s;
}

struct stream *stream_find(const struct loop *l, uint32_t id) {
    struct stream *s = l->streams;
    while (s != NULL && (s->orphan || s->id != id)) s = s->next;
    return s;
}

static void stream_free(struct loop *l, struct stream *s) {
    struct stream **link = &l->streams;
    while (*link != s) link = &(*link)->next;
    *link = s->next;
    l->stream_count--;
    l->orphan_count -= s->orphan;
    close_fd(&s->in_fd);
    for (int i = 0; i < OUT_CHANNELS; i++) close_fd(&s->out[i].fd);
    close_fd(&s->pty_fd);
    work_free(s);
    buf_free(&s->in_queue);
    free(s);
}

int exit_code(int status) { return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }

static uint64_t micros(struct timeval t) { return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_usec; }

void send_exit(struct loop *l, const struct stream *s, const struct rusage *usage) {
    size_t mark;
    struct buf *out = &l->out;
    int signo = WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0;
    bool ok = frame_begin(out, F_EXIT, s->id, &mark) && tlv_u32(out, X_STATUS, (uint32_t)exit_code(s->status)) &&
              tlv_u32(out, X_SIGNAL, (uint32_t)signo) && tlv_u64(out, X_UTIME_US, micros(usage->ru_utime)) &&
              tlv_u64(out, X_STIME_US, micros(usage->ru_stime)) &&
              tlv_u64(out, X_MAX_RSS_KIB, (uint64_t)usage->ru_maxrss);
    loop_must(l, ok);
    frame_end(out, mark);
}

/* POSIX sh, 2.8.2: 127 not found, 126 found but not executable; 125 when something before execve(2) failed. */
static int refusal_status(const struct spawn_error *e) {
    if (e->stage[0] != 'e') return EXIT_REFUSED;
    return e->err == ENOENT || e->err == ENOTDIR ? 127 : 126;
}

static void send_refusal(struct loop *l, struct stream *s, const struct spawn_error *e) {
    size_t mark;
    struct buf *out = &l->out;
    s->status = refusal_status(e) << 8;
    s->reaped = s->exit_sent = true;
    bool ok = frame_begin(out, F_EXIT, s->id, &mark) && tlv_u32(out, X_STATUS, (uint32_t)exit_code(s->status)) &&
              tlv_u32(out, X_SIGNAL, 0) && tlv_u32(out, X_EXEC_ERRNO, (uint32_t)e->err) &&
              tlv_str(out, X_EXEC_STAGE, e->stage);
    loop_must(l, ok);
    frame_end(out, mark);
}

void stream_start(struct loop *l, uint32_t id, const struct exec_spec *spec) {
    struct stream *s = stream_new(l, id);
    struct spawned child;
    struct spawn_error error;
    if (!spawn_command(spec, &l->boot->rlimits, &child, &error)) {
        send_refusal(l, s, &error);
        return;
    }
    s->pid = child.pid;
    s->in_fd = child.in;
    s->out[0].fd = child.out;
    s->out[1].fd = child.err;
    s->out[2].fd = child.control;
    s->pty_fd = child.pty;
    size_t mark;
    loop_must(l, frame_begin(&l->out, F_STARTED, id, &mark) && tlv_u32(&l->out, S_PID, (uint32_t)child.pid));
    frame_end(&l->out, mark);
}

void stream_reap(struct loop *l, pid_t pid, int status, const struct rusage *usage) {
    for (struct stream *s = l->streams; s != NULL; s = s->next) {
        if (s->pid != pid || s->reaped) continue;
        s->reaped = true;
        s->status = status;
        s->usage = *usage;
        return;
    }
    work_reap(l, pid);
}

void stream_reset(struct stream *s) {
    s->reset = true;
    if (s->work) work_reset(s);
    else if (s->pid > 0) kill(-s->pid, SIGKILL);
    s->connecting = false;
    close_fd(&s->in_fd);
    for (int i = 0; i < OUT_CHANNELS; i++) close_fd(&s->out[i].fd);
    close_fd(&s->pty_fd);
    buf_consume(&s->in_queue, s->in_queue.len);
}

/* What the command wrote before it ended comes before EXIT, as far as the host has room for it. */
static void settle_exit(struct loop *l, struct stream *s) {
    bool full = false;
    for (int channel = CH_OUT; channel <= CH_CONTROL; channel++)
        if (pump_out(l, s, channel, true) == PUMP_LIMITED && s->out[channel - CH_OUT].credit > 0) full = true;
    if (full) return;
    send_exit(l, s, &s->usage);
    s->exit_sent = true;
}

bool stream_settle(struct loop *l, struct stream *s) {
    if (s->work) work_settle(l, s);
    else if (s->pid > 0 && s->reaped && !s->exit_sent) settle_exit(l, s);
    bool over = s->dial ? !s->connecting && s->out[0].fd < 0 && s->in_fd < 0
                        : s->exit_sent && s->out[0].fd < 0 && s->out[1].fd < 0 && s->out[2].fd < 0;
    if (!over) return false;
    loop_must(l, frame_empty(&l->out, F_CLOSED, s->id));
    stream_free(l, s);
    return true;
}
