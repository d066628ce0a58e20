#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "spawn.h"

enum {
    /* DONE's payload: well below what a pipe takes at once. */
    RESULT_MAX = 12 * 1024,
    /* Fewer switches between child and agent; the pipe stays as it is where that is not allowed (pipe(7), pipe-max-size). */
    PIPE_BYTES = STREAM_WINDOW,
    FD_FALLBACK = 8192,
};

volatile sig_atomic_t work_interrupted;

static void on_term(int signo) {
    (void)signo;
    work_interrupted = 1;
}

bool work_fail_with(struct worker *w, const char *step, int err) {
    if (w->err == 0) {
        w->err = err;
        w->step = step;
    }
    return false;
}

bool work_fail(struct worker *w, const char *step) { return work_fail_with(w, step, errno); }

bool work_stopped(struct worker *w) {
    if (!work_interrupted) return false;
    work_fail_with(w, "interrupted", EINTR);
    return true;
}

bool work_result(const struct worker *w, struct buf *out) {
    bool ok = tlv_u32(out, D_ERRNO, (uint32_t)w->err) && tlv_u64(out, D_BYTES, w->bytes) && tlv_u64(out, D_COUNT, w->count) &&
              tlv_u32(out, D_FLAGS, w->flags);
    if (ok && w->err != 0) ok = tlv_str(out, D_STEP, w->step);
    if (ok && w->err == 0 && w->entry.len > 0) ok = tlv_put(out, D_ENTRY, buf_head(&w->entry), w->entry.len);
    return ok;
}

void work_run(struct worker *w) {
    switch (w->spec->type) {
    case F_FILE: files_run(w); break;
    case F_WATCH: watch_run(w); break;
    case F_PROCESSES: processes_run(w); break;
    case F_WAIT_PORT: ports_wait(w); break;
    default: ports_list(w); break;
    }
    if (w->err == 0) record_flush(w);
}

static void close_others(void) {
    if (k_close_range(3, K_FD_LAST, 0) == 0) return;
    for (int fd = 3; fd < FD_FALLBACK; fd++) close(fd);
}

/* In the child: only the three pipes, no signal handling of the agent, the limits of every command. */
static void settle_in(struct worker *w, const int ends[3]) {
    int high[3];
    for (int i = 0; i < 3; i++) high[i] = fcntl(ends[i], F_DUPFD, 3);
    for (int i = 0; i < 3; i++)
        if (high[i] < 0 || dup2(high[i], i) < 0) _exit(1);
    close_others();
    struct sigaction stop = {.sa_handler = on_term};
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGXFSZ, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    w->in = 0;
    w->out = 1;
    if (!apply_limits(w->rlimits)) work_fail(w, "rlimit");
}

static _Noreturn void child(struct worker *w, const int ends[3]) {
    settle_in(w, ends);
    if (w->err == 0) work_run(w);
    struct buf result = {0};
    if (work_result(w, &result) && result.len <= RESULT_MAX) write_all(2, buf_head(&result), result.len);
    _exit(0);
}

static void send_done(struct loop *l, struct stream *s, struct slice payload) {
    size_t mark;
    loop_must(l, frame_begin(&l->out, F_DONE, s->id, &mark) && buf_put(&l->out, payload.ptr, payload.len));
    frame_end(&l->out, mark);
    s->exit_sent = true;
}

/* A result that the child could not write itself. */
static void send_failure(struct loop *l, struct stream *s, struct worker *w, int signo) {
    struct buf result = {0};
    loop_must(l, work_result(w, &result) && tlv_u32(&result, D_SIGNAL, (uint32_t)signo));
    send_done(l, s, (struct slice){buf_head(&result), result.len});
    buf_free(&result);
}

/* Input, output, result: [0] reads, [1] writes; -1 where there is none. */
static bool open_pipes(int pipes[3][2]) {
    for (int i = 0; i < 3; i++) pipes[i][0] = pipes[i][1] = -1;
    for (int i = 0; i < 3; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0) return false;
        int ours = pipes[i][i == 0 ? 1 : 0];
        if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0) return false;
        if (i < 2) fcntl(ours, F_SETPIPE_SZ, PIPE_BYTES);
    }
    return true;
}

void work_start(struct loop *l, uint32_t id, uint16_t type, struct slice payload) {
    struct work_spec spec;
    const char *problem = work_parse(type, payload, &spec);
    if (problem != NULL) loop_violation(l, problem);
    struct stream *s = stream_new(l, id);
    s->work = true;
    struct worker w = {.spec = &spec, .rlimits = &l->boot->rlimits, .streams = l->streams};
    int pipes[3][2];
    pid_t pid = -1;
    if (open_pipes(pipes)) pid = fork();
    if (pid == 0) child(&w, (const int[3]){pipes[0][0], pipes[1][1], pipes[2][1]});
    if (pid < 0) work_fail(&w, "fork");
    int *const ours[3] = {&pipes[0][1], &pipes[1][0], &pipes[2][0]};
    int *const theirs[3] = {&pipes[0][0], &pipes[1][1], &pipes[2][1]};
    for (int i = 0; i < 3; i++) close_fd(theirs[i]);
    if (pid > 0) {
        /* Its own group, as a command has: RESET signals groups. The child may not have run yet. */
        setpgid(pid, pid);
        s->pid = pid;
        s->in_fd = *ours[0];
        s->out[0].fd = *ours[1];
        s->result_fd = *ours[2];
    } else {
        for (int i = 0; i < 3; i++) close_fd(ours[i]);
        s->reaped = true;
        send_failure(l, s, &w, 0);
    }
    arena_free(&spec.arena);
}

void work_settle(struct loop *l, struct stream *s) {
    if (s->exit_sent || !s->reaped) return;
    if (s->out[0].fd >= 0) pump_out(l, s, CH_OUT, true);
    if (s->out[0].fd >= 0) return;
    uint8_t result[RESULT_MAX];
    ssize_t n = read(s->result_fd, result, sizeof result);
    close_fd(&s->result_fd);
    close_fd(&s->in_fd);
    if (n > 0) {
        send_done(l, s, (struct slice){result, (size_t)n});
        return;
    }
    struct worker lost = {.err = EIO, .step = "killed"};
    send_failure(l, s, &lost, WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0);
}
