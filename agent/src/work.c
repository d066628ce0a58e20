/* The agent's side of work. */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "hand.h"

enum {
    /* Fewer switches between hand and agent; the pipe stays as it is where that is not allowed (pipe(7), pipe-max-size). */
    PIPE_BYTES = STREAM_WINDOW,
    /* Hands with nothing to do: as many as the host has file operations at once (CAPS.fileOperations), and how many of them stay on. */
    MOST_IDLE = 16,
    RESTING = 2,
    REST_AFTER_MS = 1000,
};

/* What another hand needs to do a request that the first did not come to; its ends of the pipes. */
struct request {
    int in, out;
    uint16_t type;
    size_t len;
    uint8_t payload[];
};

bool work_fail_with(struct worker *w, const char *step, int err) {
    if (w->err == 0) {
        w->err = err;
        w->step = step;
    }
    return false;
}

bool work_fail(struct worker *w, const char *step) { return work_fail_with(w, step, errno); }

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

static void send_done(struct loop *l, struct stream *s, struct slice payload) {
    size_t mark;
    if (!s->has_data && !s->reset) loop_must(l, frame_empty(&l->out, F_DATA_EOF, s->id));
    loop_must(l, frame_begin(&l->out, F_DONE, s->id, &mark) && buf_put(&l->out, payload.ptr, payload.len));
    frame_end(&l->out, mark);
    close_fd(&s->in_fd);
    s->exit_sent = true;
}

/* A result that no hand wrote. */
static void send_failure(struct loop *l, struct stream *s, struct worker *w, int signo) {
    struct buf result = {0};
    loop_must(l, work_result(w, &result) && tlv_u32(&result, D_SIGNAL, (uint32_t)signo));
    send_done(l, s, (struct slice){buf_head(&result), result.len});
    buf_free(&result);
}

/* `ours` does not wait. */
static bool open_pipe(int *theirs, int *ours, bool we_write) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    *ours = ends[we_write ? 1 : 0];
    *theirs = ends[we_write ? 0 : 1];
    fcntl(*ours, F_SETPIPE_SZ, PIPE_BYTES);
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

/* A watch ends with its input. */
static bool takes_content(const struct work_spec *s) { return s->type != F_FILE || s->op == OP_WRITE; }
static bool gives_data(const struct work_spec *s) { return s->type != F_FILE || s->op == OP_READ || s->op == OP_LIST; }

/* The processor time that a limit allows is for one request, and a hand has but one clock. */
static bool may_stay(const struct rlimits *list) {
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].resource == RLIMIT_CPU) return false;
    return true;
}

static struct hand *take_idle(struct loop *l) {
    struct hand **link = &l->hands;
    while (*link != NULL && (*link)->fd < 0) link = &(*link)->next;
    struct hand *h = *link;
    if (h != NULL) *link = h->next;
    return h;
}

static void put_away(struct loop *l, struct hand *h) {
    h->next = l->hands;
    l->hands = h;
}

static void forget_request(struct stream *s) {
    if (s->request == NULL) return;
    close_fd(&s->request->in);
    close_fd(&s->request->out);
    free(s->request);
    s->request = NULL;
}

/* There is nobody to do it. */
static void refuse(struct loop *l, struct stream *s, struct worker *w) {
    s->reaped = true;
    close_fd(&s->out[0].fd);
    send_failure(l, s, w, 0);
}

/* By a hand that is there; the request is kept, because it may not come to it. False when there is none. */
static bool give(struct loop *l, struct stream *s) {
    const struct request *r = s->request;
    struct slice payload = {r->payload, r->len};
    if (r->type != F_FILE || r->len > HAND_REQUEST_MAX) return false;
    for (struct hand *h; (h = take_idle(l)) != NULL;) {
        if (hand_give(h, r->type, payload, r->in, r->out)) {
            s->hand = h;
            s->pid = h->pid;
            s->stays = true;
            return true;
        }
        hand_dismiss(h);
        put_away(l, h);
    }
    return false;
}

static void fork_for(struct loop *l, struct stream *s) {
    const struct request *r = s->request;
    struct work_spec spec;
    const char *problem = work_parse(r->type, (struct slice){r->payload, r->len}, &spec);
    if (problem != NULL) loop_violation(l, problem);
    const struct rlimits *limits = &l->boot->rlimits;
    bool stays = r->type == F_FILE && may_stay(limits);
    struct worker w = {.spec = &spec, .rlimits = limits, .streams = l->streams, .hands = l->hands, .stays = stays};
    s->hand = hand_fork(&w, r->in, r->out);
    s->pid = s->hand == NULL ? 0 : s->hand->pid;
    s->stays = stays;
    s->reaped = false;
    if (s->hand == NULL) refuse(l, s, &w);
    arena_free(&spec.arena);
    forget_request(s);
}

static bool keep_request(struct stream *s, uint16_t type, struct slice payload) {
    s->request = malloc(sizeof *s->request + payload.len);
    if (s->request == NULL) return false;
    *s->request = (struct request){.in = -1, .out = -1, .type = type, .len = payload.len};
    if (payload.len > 0) memcpy(s->request->payload, payload.ptr, payload.len);
    return true;
}

void work_start(struct loop *l, uint32_t id, uint16_t type, struct slice payload) {
    struct work_spec spec;
    const char *problem = work_parse(type, payload, &spec);
    if (problem != NULL) loop_violation(l, problem);
    struct stream *s = stream_new(l, id);
    s->work = true;
    s->has_data = gives_data(&spec);
    bool has_content = takes_content(&spec);
    arena_free(&spec.arena);
    loop_must(l, keep_request(s, type, payload));
    bool ok = (!has_content || open_pipe(&s->request->in, &s->in_fd, true)) &&
              (!s->has_data || open_pipe(&s->request->out, &s->out[0].fd, false));
    if (ok) {
        if (!give(l, s)) fork_for(l, s);
        return;
    }
    struct worker w = {0};
    work_fail(&w, "fork");
    forget_request(s);
    refuse(l, s, &w);
}

void work_answered(struct stream *s) {
    uint8_t result[HAND_RESULT_MAX];
    if (s->hand == NULL || s->hand->fd < 0) return;
    ssize_t n = recv(s->hand->fd, result, sizeof result, MSG_DONTWAIT);
    if (n > 0 && buf_put(&s->result, result, (size_t)n)) return;
    /* It is about to be reaped. */
    if (n >= 0 || (errno != EAGAIN && errno != EINTR)) hand_dismiss(s->hand);
}

void work_reset(struct stream *s) {
    if (s->hand == NULL || s->reaped) return;
    s->hand->page->given_up = s->hand->turn;
    kill(-s->pid, SIGTERM);
    kill(-s->pid, SIGCONT);
}

static size_t count_idle(const struct loop *l) {
    size_t n = 0;
    for (const struct hand *h = l->hands; h != NULL; h = h->next) n += h->fd >= 0;
    return n;
}

/* The stream is done with its hand, which may be done altogether. */
static void release(struct loop *l, struct stream *s) {
    struct hand *h = s->hand;
    s->hand = NULL;
    if (s->reaped) {
        hand_free(h);
        return;
    }
    s->reaped = true;
    if (!s->stays || s->reset || l->shutting_down || count_idle(l) >= MOST_IDLE) hand_dismiss(h);
    put_away(l, h);
    l->rest_at_ms = now_ms() + REST_AFTER_MS;
}

void work_settle(struct loop *l, struct stream *s) {
    if (s->exit_sent) return;
    if (s->request != NULL && hand_has_begun(s->hand)) forget_request(s);
    if (s->result.len == 0 && s->reaped) work_answered(s);
    if (s->result.len == 0 && !s->reaped) return;
    /* Somebody killed it before it could take the request. */
    if (s->result.len == 0 && s->request != NULL && !s->reset) {
        hand_free(s->hand);
        fork_for(l, s);
        return;
    }
    if (s->out[0].fd >= 0) pump_out(l, s, CH_OUT, true);
    if (s->out[0].fd >= 0) return;
    struct worker lost = {.err = EIO, .step = "killed"};
    if (s->result.len > 0) send_done(l, s, (struct slice){buf_head(&s->result), s->result.len});
    else send_failure(l, s, &lost, WIFSIGNALED(s->status) ? WTERMSIG(s->status) : 0);
    release(l, s);
}

void work_free(struct stream *s) {
    forget_request(s);
    buf_free(&s->result);
}

void work_reap(struct loop *l, pid_t pid) {
    for (struct hand **link = &l->hands; *link != NULL; link = &(*link)->next) {
        struct hand *h = *link;
        if (h->pid != pid) continue;
        *link = h->next;
        hand_free(h);
        return;
    }
}

/* Those that were put away first go first: the list ends with them. */
static void dismiss_all_but(struct loop *l, size_t left) {
    size_t idle = 0;
    for (struct hand *h = l->hands; h != NULL; h = h->next)
        if (h->fd >= 0 && ++idle > left) hand_dismiss(h);
}

int work_rest(struct loop *l) {
    if (l->rest_at_ms == 0) return -1;
    int64_t left = l->rest_at_ms - now_ms();
    if (left > 0) return (int)left;
    l->rest_at_ms = 0;
    dismiss_all_but(l, RESTING);
    return -1;
}

void work_dismiss(struct loop *l) { dismiss_all_but(l, 0); }
