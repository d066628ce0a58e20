#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "limits.h"
#include "proto.h"

/* Everything the child needs; it shares our memory until execve(2) (CLONE_VM | CLONE_VFORK), and reports here. */
struct child {
    const struct exec_spec *spec;
    struct limit_plan limits;
    int stdio[3]; /* what becomes 0, 1 and 2; -1 keeps the inherited one */
    int control;  /* what becomes 3; -1 for none */
    bool terminal;
    struct spawn_error error;
};

/* Soft limit on descriptors for commands that name none: what a login shell has; select(2) breaks above it. */
enum { DEFAULT_FILES = 1024 };

/* Where a command finds its control channel. */
enum { CONTROL_FD = 3 };

static const char *search_path(const struct exec_spec *spec) {
    for (size_t i = 0; i < spec->env.count; i++)
        if (strncmp(spec->env.items[i], "PATH=", 5) == 0) return spec->env.items[i] + 5;
    return "/usr/local/bin:/usr/bin:/bin";
}

static bool plan_limits(struct limit_plan *p, const struct rlimits *common, const struct exec_spec *spec) {
    static const struct rlimit_spec files = {RLIMIT_NOFILE, DEFAULT_FILES, ~(uint64_t)0};
    return limits_add_one(p, &files) && limits_add(p, common) && limits_add(p, &spec->rlimits);
}

/* Like execvpe(3), but without handing scripts that lack a "#!" to a shell. Sets errno. */
static void exec_program(const struct exec_spec *spec) {
    static char *const no_env[] = {NULL};
    char *const *env = spec->env.items == NULL ? no_env : spec->env.items;
    const char *name = spec->argv.items[0];
    if (strchr(name, '/') != NULL) {
        execve(name, spec->argv.items, env);
        return;
    }
    int seen = ENOENT;
    for (const char *p = search_path(spec);;) {
        char file[4096];
        size_t n = strcspn(p, ":");
        int len = snprintf(file, sizeof file, "%.*s/%s", (int)n, n == 0 ? "." : p, name);
        if (n == 0) len = snprintf(file, sizeof file, "./%s", name);
        if (len > 0 && (size_t)len < sizeof file) execve(file, spec->argv.items, env);
        if (errno == EACCES) seen = EACCES;
        else if (errno != ENOENT && errno != ENOTDIR) return;
        if (p[n] == '\0') break;
        p += n + 1;
    }
    errno = seen;
}

static const char *child_steps(struct child *c) {
    if (setsid() < 0) return "session";
    /* Set aside until the standard descriptors stand: after many locks one of these has the channel's number. */
    int channel = c->spec->channel, own = channel == 0 ? -1 : fcntl(1, F_DUPFD_CLOEXEC, channel + 1);
    for (int i = 0; i < 3; i++)
        if (c->stdio[i] >= 0 && dup2(c->stdio[i], i) < 0) return "pipe";
    if (channel != 0 && dup2(own, channel) < 0) return "pipe";
    /* dup2(2) of a descriptor onto itself would leave it close-on-exec. */
    if (c->control == CONTROL_FD && fcntl(CONTROL_FD, F_SETFD, 0) < 0) return "pipe";
    if (c->control >= 0 && dup2(c->control, CONTROL_FD) < 0) return "pipe";
    for (int i = 0; c->terminal && i < 3; i++)
        if (c->spec->stdio[i] == STDIO_PTY) {
            if (ioctl(i, TIOCSCTTY, 0) < 0) return "session";
            break;
        }
    if (!limits_apply(&c->limits)) return "rlimit";
    if (chdir(c->spec->cwd) < 0) return "chdir";
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    if (sigprocmask(SIG_SETMASK, &none, NULL) < 0) return "session";
    exec_program(c->spec);
    return "exec";
}

static int child_main(void *arg) {
    struct child *c = arg;
    const char *stage = child_steps(c);
    c->error = (struct spawn_error){stage, errno};
    _exit(127);
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* ptmx(4), pts(4) */
static int open_pty(const struct exec_spec *spec, int *slave) {
    int number, unlock = 0;
    char name[32];
    struct winsize size = {.ws_row = spec->rows, .ws_col = spec->cols};
    int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (master < 0) return -1;
    if (ioctl(master, TIOCSPTLCK, &unlock) == 0 && ioctl(master, TIOCGPTN, &number) == 0 &&
        ioctl(master, TIOCSWINSZ, &size) == 0) {
        snprintf(name, sizeof name, "/dev/pts/%d", number);
        *slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (*slave >= 0) return master;
    }
    int saved = errno;
    close(master);
    errno = saved;
    return -1;
}

static bool open_pipe(int i, int *theirs, int *ours) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) return false;
    *theirs = i == 0 ? ends[0] : ends[1];
    *ours = i == 0 ? ends[1] : ends[0];
    return fcntl(*ours, F_SETFL, O_NONBLOCK) == 0;
}

/* A bidirectional channel beside the output, with nothing on stdin: for a code runner's kernel. */
static bool open_control(struct child *c, int *ours, int *read_end) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) return false;
    c->control = ends[0];
    *ours = ends[1];
    if (fcntl(*ours, F_SETFL, O_NONBLOCK) < 0) return false;
    *read_end = fcntl(*ours, F_DUPFD_CLOEXEC, 3);
    c->stdio[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
    return *read_end >= 0 && c->stdio[0] >= 0;
}

static const char *open_stdio(const struct exec_spec *spec, struct child *c, int ours[3], int *pty, int *control) {
    int slave = -1;
    for (int i = 0; i < 3; i++) {
        int *theirs = &c->stdio[i];
        switch (spec->stdio[i]) {
        case STDIO_PIPE:
            if (!open_pipe(i, theirs, &ours[i])) return "pipe";
            break;
        case STDIO_PTY:
            if (slave < 0) {
                *pty = open_pty(spec, &slave);
                if (*pty < 0) return "pty";
                *theirs = slave;
            } else if ((*theirs = fcntl(slave, F_DUPFD_CLOEXEC, 3)) < 0) {
                return "pty";
            }
            c->terminal = true;
            if ((ours[i] = fcntl(*pty, F_DUPFD_CLOEXEC, 3)) < 0) return "pty";
            break;
        case STDIO_NULL:
            *theirs = open("/dev/null", (i == 0 ? O_RDONLY : O_WRONLY) | O_CLOEXEC);
            if (*theirs < 0) return "pipe";
            break;
        case STDIO_CONTROL:
            if (!open_control(c, &ours[0], control)) return "pipe";
            break;
        default: break;
        }
    }
    return NULL;
}

#ifdef __SANITIZE_ADDRESS__
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#endif

static pid_t start_child(struct child *c) {
    static _Alignas(16) char stack[64 * 1024];
#ifdef __SANITIZE_ADDRESS__
    /* The last child left its frames by execve(2), so their red zones are still marked. */
    __asan_unpoison_memory_region(stack, sizeof stack);
#endif
    return clone(child_main, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, c);
}

bool spawn_command(const struct exec_spec *spec, const struct rlimits *common, struct spawned *out,
                   struct spawn_error *error) {
    struct child c = {.spec = spec, .stdio = {-1, -1, -1}, .control = -1};
    int ours[3] = {-1, -1, -1};
    int pty = -1, control = -1;
    const char *stage = plan_limits(&c.limits, common, spec) ? open_stdio(spec, &c, ours, &pty, &control) : "rlimit";
    pid_t pid = stage == NULL ? start_child(&c) : -1;
    *error = (struct spawn_error){stage == NULL ? "fork" : stage, errno};
    for (int i = 0; i < 3; i++) close_fd(&c.stdio[i]);
    close_fd(&c.control);
    if (pid > 0 && c.error.stage == NULL) {
        /* With stdout and stderr on the terminal both read the same end: one source is enough. */
        if (spec->stdio[1] == STDIO_PTY && spec->stdio[2] == STDIO_PTY) close_fd(&ours[2]);
        *out = (struct spawned){pid, ours[0], ours[1], ours[2], pty, control};
        return true;
    }
    if (pid > 0) *error = c.error;
    for (int i = 0; i < 3; i++) close_fd(&ours[i]);
    close_fd(&pty);
    close_fd(&control);
    return false;
}
