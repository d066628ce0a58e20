#include "hand.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "limits.h"

enum {
    FD_FALLBACK = 8192,
    /* A hand's own descriptors: the null device as 0 and 1, and its socket. */
    HAND_FD = 2,
    FIRST_FREE = 3,
    /* Above every number that a first request's descriptors end up with. */
    OUT_OF_THE_WAY = 16,
};

volatile sig_atomic_t work_interrupted;

static void on_term(int signo) {
    (void)signo;
    work_interrupted = 1;
}

bool work_stopped(struct worker *w) {
    if (!work_interrupted && (w->page == NULL || w->page->given_up != w->turn)) return false;
    work_fail_with(w, "interrupted", EINTR);
    return true;
}

static void close_from(int first) {
    if (k_close_range((unsigned)first, K_FD_LAST, 0) == 0) return;
    for (int fd = first; fd < FD_FALLBACK; fd++) close(fd);
}

/* Only the socket and what the first request needs, which moves to the numbers behind it. */
static bool keep_only(struct worker *w, int control) {
    int *const moved[3] = {&control, &w->in, &w->out};
    for (int i = 0; i < 3; i++)
        if (*moved[i] >= 0 && (*moved[i] = fcntl(*moved[i], F_DUPFD, OUT_OF_THE_WAY)) < 0) return false;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(control, HAND_FD) < 0) return false;
    int next = FIRST_FREE;
    for (int i = 1; i < 3; i++) {
        if (*moved[i] < 0) continue;
        if (dup2(*moved[i], next) < 0) return false;
        *moved[i] = next++;
    }
    close_from(next);
    return true;
}

/* No signal handling of the agent, the limits of every command. */
static bool settle_in(const struct worker *w) {
    struct sigaction stop = {.sa_handler = on_term};
    sigaction(SIGTERM, &stop, NULL);
    signal(SIGXFSZ, SIG_IGN);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    struct limit_plan limits = {0};
    return limits_add(&limits, w->rlimits) && limits_apply(&limits);
}

/* What the request opened is closed before its result is there, so that the end of the data is too. */
static bool answer(struct worker *w) {
    struct buf result = {0};
    close_from(FIRST_FREE);
    bool ok = work_result(w, &result) && result.len <= HAND_RESULT_MAX &&
              send(HAND_FD, buf_head(&result), result.len, MSG_NOSIGNAL) == (ssize_t)result.len;
    buf_free(&result);
    buf_free(&w->queue);
    buf_free(&w->entry);
    return ok && !work_stopped(w);
}

/* Waits for a request. False when there is none: dismissed, or asked to end while it had nothing to do. */
static bool next_request(uint8_t *data, size_t size, struct slice *message, int fds[2]) {
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec part = {data, size};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(HAND_FD, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR && !work_interrupted) n = recvmsg(HAND_FD, &m, MSG_CMSG_CLOEXEC);
    if (n < (ssize_t)sizeof(struct hand_request)) return false;
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c != NULL && c->cmsg_type == SCM_RIGHTS) memcpy(fds, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
    *message = (struct slice){data, (size_t)n};
    return true;
}

static bool do_next(const struct rlimits *rlimits, struct hand_page *page) {
    static uint8_t data[HAND_REQUEST_MAX + sizeof(struct hand_request)];
    int fds[2] = {-1, -1};
    struct slice message;
    struct hand_request head;
    if (!next_request(data, sizeof data, &message, fds)) return false;
    memcpy(&head, message.ptr, sizeof head);
    /* A signal from before was not about this request; whether nobody waits for it any more stands in the page. */
    work_interrupted = 0;
    page->begun = head.turn;
    struct work_spec spec;
    struct worker w = {.spec = &spec, .rlimits = rlimits, .page = page, .turn = head.turn, .in = -1, .out = -1};
    if (head.has_in) w.in = fds[0];
    if (head.has_out) w.out = fds[head.has_in ? 1 : 0];
    struct slice payload = {message.ptr + sizeof head, message.len - sizeof head};
    if (work_parse(head.type, payload, &spec) != NULL) return false;
    if (!work_stopped(&w)) work_run(&w);
    arena_free(&spec.arena);
    return answer(&w);
}

static _Noreturn void hand_main(struct worker *w, int control) {
    const struct rlimits *rlimits = w->rlimits;
    struct hand_page *page = w->page;
    if (!keep_only(w, control)) _exit(1);
    bool useful = settle_in(w) || work_fail(w, "rlimit");
    if (useful) work_run(w);
    useful = answer(w) && useful && w->stays;
    while (useful) useful = do_next(rlimits, page);
    _exit(0);
}

struct hand *hand_fork(struct worker *w, int in, int out) {
    int ends[2] = {-1, -1};
    struct hand *h = calloc(1, sizeof *h);
    struct hand_page *page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pid = -1;
    if (h != NULL && page != MAP_FAILED && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) {
        *page = (struct hand_page){.begun = 1};
        *h = (struct hand){.fd = ends[0], .turn = 1, .page = page};
        w->page = page;
        w->turn = 1;
        w->in = in;
        w->out = out;
        pid = fork();
        if (pid == 0) hand_main(w, ends[1]);
    }
    if (pid < 0) work_fail(w, "fork");
    close_fd(&ends[1]);
    if (pid > 0) {
        /* Its own group, as a command has: RESET signals groups. The child may not have run yet. */
        setpgid(pid, pid);
        h->pid = pid;
        return h;
    }
    close_fd(&ends[0]);
    if (page != MAP_FAILED) munmap(page, sizeof *page);
    free(h);
    return NULL;
}

bool hand_give(struct hand *h, uint16_t type, struct slice payload, int in, int out) {
    union {
        struct cmsghdr head;
        char space[CMSG_SPACE(2 * sizeof(int))];
    } control = {0};
    struct hand_request head = {.turn = ++h->turn, .type = type, .has_in = in >= 0, .has_out = out >= 0};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)payload.ptr, payload.len}};
    struct msghdr m = {.msg_iov = parts, .msg_iovlen = 2};
    int fds[2] = {in >= 0 ? in : out, out};
    size_t bytes = (size_t)(head.has_in + head.has_out) * sizeof fds[0];
    if (bytes > 0) {
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(bytes);
        control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(bytes), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.head), fds, bytes);
    }
    /* A command may have stopped it while it had nothing to do. */
    kill(h->pid, SIGCONT);
    return sendmsg(h->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)(sizeof head + payload.len);
}

void hand_dismiss(struct hand *h) { close_fd(&h->fd); }

void hand_free(struct hand *h) {
    hand_dismiss(h);
    munmap(h->page, sizeof *h->page);
    free(h);
}
