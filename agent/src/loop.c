#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "fail.h"
#include "hand.h"
#include "limits.h"
#include "oom.h"

enum {
    /* A host that does not close its end by then is gone or stopped. */
    LEAVE_MS = 1000,
    /* Input, output, the hand. */
    STREAM_POLLS = 2 + OUT_CHANNELS,
};

int64_t now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* As pid 1 of a pid namespace this reaches everything in it but ourselves: kill(2). `init_main` insists on pid 1. */
void kill_all(int signo) { kill(-1, signo); }

void write_out(struct loop *l) {
    while (l->out.len > 0) {
        ssize_t n = write(l->out_fd, buf_head(&l->out), l->out.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) {
            kill_all(SIGKILL);
            _exit(EXIT_REFUSED);
        }
        buf_consume(&l->out, (size_t)n);
    }
    if (l->out.cap > 2 * OUT_HIGH) buf_free(&l->out);
}

_Noreturn void loop_fatal(struct loop *l, uint32_t code, const char *op, const char *message) {
    kill_all(SIGKILL);
    if (fail_encode(&l->out, &(struct failure){.code = code, .op = op, .message = message})) write_out(l);
    _exit(EXIT_REFUSED);
}

_Noreturn void loop_violation(struct loop *l, const char *message) { loop_fatal(l, ERR_PROTOCOL, "frame", message); }

void loop_must(struct loop *l, bool ok) {
    if (!ok) loop_fatal(l, ERR_INTERNAL, "memory", "out of memory");
}

void read_frames(struct loop *l) {
    loop_must(l, buf_reserve(&l->in, READ_CHUNK));
    ssize_t n = read(CHANNEL_FD, buf_head(&l->in) + l->in.len, READ_CHUNK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        kill_all(SIGKILL);
        _exit(EXIT_REFUSED);
    }
    l->in.len += (size_t)n;
    struct frame f;
    while (l->in.len >= FRAME_HEADER) {
        if (!frame_decode(buf_head(&l->in), &f)) loop_violation(l, "malformed frame");
        if (l->in.len - FRAME_HEADER < f.length) break;
        dispatch(l, &f, (struct slice){buf_head(&l->in) + FRAME_HEADER, f.length});
        buf_consume(&l->in, FRAME_HEADER + f.length);
    }
    if (l->in.len == 0 && l->in.cap > FRAME_BOOT_MAX / 16) buf_free(&l->in);
}

/* True while there are children. */
static bool reap(struct loop *l, int flags) {
    int status;
    struct rusage usage;
    pid_t pid;
    while ((pid = wait4(-1, &status, flags, &usage)) > 0) stream_reap(l, pid, status, &usage);
    return pid == 0 || errno != ECHILD;
}

/* Before the end of a command, so that whoever learns of the one knows of the other. */
static void tell_oom(struct loop *l) {
    uint32_t kills = l->own_kernel ? oom_kills() : 0;
    if (kills <= l->oom_kills) return;
    l->oom_kills = kills;
    loop_must(l, oom_tell(&l->out, kills));
}

static void on_children(struct loop *l) {
    struct signalfd_siginfo ignored[8];
    /* What does not fill it was all. */
    while (read(l->signal_fd, ignored, sizeof ignored) == sizeof ignored) continue;
    reap(l, WNOHANG);
    tell_oom(l);
}

/* One-shot: the command is over, so everything it left behind ends too. */
static void end_oneshot(struct loop *l) {
    kill_all(SIGKILL);
    reap(l, 0);
    l->finishing = true;
}

/*
 * Closing a socket with unread data, or one that is written to afterwards, makes the kernel throw away what the other side has
 * not read yet (ECONNRESET, EPIPE). So we say that nothing more comes, and read until the host has closed its end.
 */
static _Noreturn void leave(const struct loop *l, int code) {
    char ignored[4096];
    /* A machine's port has no end of its own. Its first process says that this is it, and waits for the host. */
    if (l->out_fd == CHANNEL_FD && shutdown(CHANNEL_FD, SHUT_WR) < 0 && errno == ENOTSOCK) _exit(code);
    if (l->out_fd != CHANNEL_FD) close(l->out_fd);
    struct pollfd host = {.fd = CHANNEL_FD, .events = POLLIN};
    int64_t until = now_ms() + LEAVE_MS;
    for (int64_t left = LEAVE_MS; left > 0; left = until - now_ms()) {
        if (poll(&host, 1, (int)left) < 0 && errno != EINTR) break;
        ssize_t n = read(CHANNEL_FD, ignored, sizeof ignored);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) break;
    }
    _exit(code);
}

static void exit_when_sent(struct loop *l, int code) {
    if (l->out.len == 0) leave(l, code);
}

/* All writers are dead: an empty pipe stays empty, so idle is as good as closed. */
static void finish_oneshot(struct loop *l, struct stream *s) {
    if (!s->exit_sent) {
        if (pump_out(l, s, CH_OUT, true) == PUMP_LIMITED || pump_out(l, s, CH_ERR, true) == PUMP_LIMITED) return;
        struct rusage usage;
        getrusage(RUSAGE_CHILDREN, &usage);
        send_exit(l, s, &usage);
        s->exit_sent = true;
        write_out(l);
    }
    exit_when_sent(l, exit_code(s->status));
}

static void settle(struct loop *l) {
    if (l->boot->mode == MODE_ONESHOT) {
        struct stream *s = stream_find(l, ONESHOT_STREAM);
        if (s->reaped && !l->finishing) end_oneshot(l);
        if (l->finishing) finish_oneshot(l, s);
    }
    if (l->boot->mode == MODE_SERVE && l->shutting_down && !reap(l, WNOHANG)) l->finishing = true;
    for (struct stream *s = l->streams, *next; s != NULL; s = next) {
        next = s->next;
        if (l->boot->mode != MODE_SERVE && !s->dial) continue;
        bool orphan = s->orphan;
        size_t before = l->out.len;
        if (!stream_settle(l, s) && orphan) orphan_hush(l, s, before);
        else if (orphan) l->out.len = before;
    }
    write_out(l);
    if (l->finishing && l->boot->mode == MODE_SERVE) exit_when_sent(l, 0);
}

/* Returns how long poll(2) may sleep. */
static int check_deadline(struct loop *l) {
    if (!l->shutting_down || l->killed) return -1;
    int64_t left = l->kill_at_ms - now_ms();
    if (left > 0) return left > 60000 ? 60000 : (int)left;
    l->killed = true;
    kill_all(SIGKILL);
    return -1;
}

/* Of two times to sleep, of which either may be for ever. */
static int sooner(int a, int b) { return a < 0 ? b : b < 0 || a < b ? a : b; }

static void add_poll(struct loop *l, size_t *n, int fd, short events) {
    l->polls[(*n)++] = (struct pollfd){.fd = events == 0 ? -1 : fd, .events = events};
}

/* Channel in, signals, channel out, then the same entries for each stream, always in the same order; a negative descriptor is not looked at. */
static size_t build_polls(struct loop *l) {
    size_t wanted = 3 + l->stream_count * STREAM_POLLS, n = 0;
    if (wanted > l->poll_cap) {
        struct pollfd *grown = realloc(l->polls, wanted * 2 * sizeof *grown);
        loop_must(l, grown != NULL);
        l->polls = grown;
        l->poll_cap = wanted * 2;
    }
    bool room = l->out.len < OUT_HIGH;
    add_poll(l, &n, CHANNEL_FD, l->out.len < 2 * OUT_HIGH ? POLLIN : 0);
    add_poll(l, &n, l->signal_fd, POLLIN);
    add_poll(l, &n, l->out_fd, l->out.len > 0 ? POLLOUT : 0);
    for (struct stream *s = l->streams; s != NULL; s = s->next) {
        bool feed = s->connecting || s->in_queue.len > 0 || (s->in_eof && s->in_fd >= 0);
        add_poll(l, &n, s->in_fd, feed ? POLLOUT : 0);
        for (int i = 0; i < OUT_CHANNELS; i++)
            add_poll(l, &n, s->out[i].fd, room && s->out[i].credit > 0 ? POLLIN : 0);
        add_poll(l, &n, s->hand != NULL ? s->hand->fd : -1, s->result.len == 0 ? POLLIN : 0);
    }
    return n;
}

static void serve_streams(struct loop *l) {
    const struct pollfd *p = l->polls + 3;
    for (struct stream *s = l->streams; s != NULL; s = s->next, p += STREAM_POLLS) {
        size_t before = l->out.len;
        if (p[0].revents != 0) {
            if (s->connecting) dial_ready(l, s);
            else pump_in(l, s);
        }
        for (int i = 0; i < OUT_CHANNELS; i++)
            if (p[1 + i].revents != 0) pump_out(l, s, CH_OUT + i, false);
        if (p[1 + OUT_CHANNELS].revents != 0) work_answered(s);
        if (s->orphan) orphan_hush(l, s, before);
    }
}

/* A port, or a connection to another machine. Everywhere else the channel is a unix socket or a pipe. */
static bool is_machine_port(int fd) {
    struct stat st;
    int domain = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0) return domain == AF_VSOCK;
    return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode);
}

static int open_signal_fd(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0) fail_sys("sigprocmask", NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void start_oneshot(struct loop *l) {
    struct exec_spec spec;
    const char *problem = exec_parse(l->boot->exec, &spec);
    if (problem != NULL) loop_violation(l, problem);
    l->last_id = ONESHOT_STREAM;
    stream_start(l, ONESHOT_STREAM, &spec);
    arena_free(&spec.arena);
    /* The command has its own copies; ours would keep the caller's pipes open when it closes them. */
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null >= 0 && i < 3; i++) dup2(null, i);
}

_Noreturn void loop_run(struct loop *l) {
    fail_stage("loop");
    l->signal_fd = open_signal_fd();
    if (l->signal_fd < 0 || fcntl(CHANNEL_FD, F_SETFL, O_NONBLOCK) < 0 || fcntl(l->out_fd, F_SETFL, O_NONBLOCK) < 0)
        fail_sys("signalfd", NULL);
    l->own_kernel = is_machine_port(CHANNEL_FD);
    l->oom_kills = l->own_kernel ? oom_kills() : 0;
    limits_take_on(&l->boot->rlimits);
    if (l->boot->mode == MODE_ONESHOT) start_oneshot(l);
    for (;;) {
        if (l->quiet) {
            quiet_turn(l);
            continue;
        }
        settle(l);
        int timeout = sooner(check_deadline(l), work_rest(l));
        size_t n = build_polls(l);
        if (poll(l->polls, n, timeout) < 0 && errno != EINTR) loop_fatal(l, ERR_INTERNAL, "poll", "failed");
        serve_streams(l);
        if (l->polls[1].revents != 0) on_children(l);
        if (l->polls[0].revents != 0) read_frames(l);
    }
}
