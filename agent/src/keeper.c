#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

#include "fail.h"
#include "kernel.h"
#include "loop.h"
#include "proto.h"

#define GROUPS "/cgroup"
#define GROUP GROUPS "/sandbox"

enum {
    /* A process that waits for a file is stopped when it has it; a relay is there when it has connected. */
    SETTLE_MS = 10000,
    LOOK_MS = 2,
    /* Nobody tells when a host that is away comes back; a copy begins with its host away. */
    AWAY_MS = 5,
    EVENTS_BYTES = 256,
};

static const char port_name[] = "glovebox.keeper";

/* Between the keeper and the worker, who is the parent of all three. */
struct page {
    volatile pid_t sandbox, relay;
    volatile bool renews, relay_spoke;
};

static struct page *page;
static pid_t keeper;
static int group = -1, port = -1;
static bool holds;

static void rest(int ms) {
    const struct timespec time = {.tv_nsec = ms * 1000000L};
    nanosleep(&time, NULL);
}

static void make_group(void) {
    if (mkdir(GROUPS, 0700) < 0 && errno != EEXIST) fail_sys("mkdir", GROUPS);
    if (mount("cgroup", GROUPS, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0) fail_sys("mount", GROUPS);
    if (mkdir(GROUP, 0700) < 0) fail_sys("mkdir", GROUP);
    group = open(GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (group < 0) fail_sys("open", GROUP);
}

pid_t keeper_clone(unsigned namespaces) {
    const struct k_clone_args args = {
        .flags = namespaces | K_CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)group,
    };
    return (pid_t)syscall(NR_CLONE3, &args, sizeof args);
}

void keeper_knows(pid_t sandbox, pid_t relay) {
    if (page == NULL) return;
    page->sandbox = sandbox;
    page->relay = relay;
    page->relay_spoke = false;
    page->renews = false;
}

bool keeper_renews(void) { return page != NULL && page->renews; }

void keeper_relay_speaks(void) {
    if (page != NULL) page->relay_spoke = true;
}

bool keeper_is(pid_t pid) { return keeper > 0 && pid == keeper; }

void keeper_boot_id(struct slice id) {
    char text[64];
    size_t n = 0;
    for (size_t i = 0; i < id.len; i++) n += (size_t)sprintf(text + n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", id.ptr[i]);
    text[n++] = '\n';
    int fd = open(MACHINE_BOOT_ID, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0444);
    if (fd < 0 || !write_all(fd, text, n)) fail_sys("write", MACHINE_BOOT_ID);
    close(fd);
}

static bool is_frozen(void) {
    char text[EVENTS_BYTES];
    int fd = openat(group, "cgroup.events", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (n < 0) fail_sys("read", "cgroup.events");
    close(fd);
    text[n] = '\0';
    return strstr(text, "frozen 1") != NULL;
}

/* Every process of the sandbox stands still, or goes on, when this returns. False when not all of them would in time. */
static bool hold(bool still) {
    if (!write_file(GROUP "/cgroup.freeze", still ? "1" : "0")) fail_sys("write", "cgroup.freeze");
    for (int64_t until = now_ms() + SETTLE_MS; is_frozen() != still; rest(LOOK_MS))
        if (now_ms() > until) return false;
    return true;
}

static void answer(uint16_t type, uint16_t tag, uint32_t value) {
    struct buf out = {0};
    size_t mark;
    if (!frame_begin(&out, type, 0, &mark) || !tlv_u32(&out, tag, value)) fail_msg("memory", NULL, "out of memory");
    frame_end(&out, mark);
    if (!write_all(port, buf_head(&out), out.len)) fail_sys("write", "port");
    buf_free(&out);
}

static void freeze(void) {
    holds = hold(true);
    if (!holds) hold(false);
    answer(F_FROZEN, FR_HOLDS, holds ? 1 : 0);
}

/* The host name is that of the sandbox's namespace, which is not ours. */
static void enter_names(void) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/uts", (int)page->sandbox);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWUTS) < 0) fail_sys("setns", path);
    close(fd);
}

/* Its connections lead to a host that knows nothing of them. The worker starts another one. */
static void renew_relay(void) {
    if (page->relay <= 0 || !page->relay_spoke) return;
    page->renews = true;
    if (kill(page->relay, SIGKILL) < 0) fail_sys("kill", "relay");
    for (int64_t until = now_ms() + SETTLE_MS; page->renews; rest(LOOK_MS))
        if (now_ms() > until) fail_msg("relay", NULL, "no other one came up");
}

/* Nothing of the sandbox has run since it was stopped: what it draws from now on is drawn after the new seed. */
static void thaw(struct slice payload) {
    struct machine_spec spec;
    const char *problem = machine_parse_thaw(payload, &spec);
    if (problem != NULL) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "parse", .message = problem});
    bool copy = spec.seed.len > 0;
    if (copy) {
        enter_names();
        hardware_personal(&spec);
        keeper_boot_id(spec.id);
        renew_relay();
    } else {
        hardware_clock(spec.clock_ns);
    }
    arena_free(&spec.arena);
    holds = false;
    hold(false);
    answer(F_THAWED, TH_COPY, copy ? 1 : 0);
}

static void obey(void) {
    uint8_t *payload;
    size_t len;
    fail_stage("keeper");
    int got = frame_read(port, holds ? F_THAW : F_FREEZE, &payload, &len);
    if (got == 0) return;
    if (got < 0) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "frame", .message = "malformed frame"});
    if (holds) thaw((struct slice){payload, len});
    else freeze();
    free(payload);
}

static _Noreturn void serve(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail_sys("prctl", "PR_SET_PDEATHSIG");
    /* What it has to say of itself, it says on the console: the channel is the sandbox's. */
    close(CHANNEL_FD);
    fail_channel(-1);
    for (;;) {
        struct pollfd host = {.fd = port, .events = POLLIN};
        if (poll(&host, 1, -1) < 0 && errno != EINTR) fail_sys("poll", "port");
        if ((host.revents & POLLIN) != 0) obey();
        else if (host.revents != 0) rest(AWAY_MS);
    }
}

void keeper_start(void) {
    fail_stage("keeper");
    make_group();
    /* From the kernel's command line: the machine has such a port. */
    if (getenv("glovebox_keeper") == NULL) return;
    port = hardware_port(port_name);
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) fail_sys("mmap", NULL);
    keeper = fork();
    if (keeper < 0) fail_sys("fork", NULL);
    if (keeper == 0) serve();
    close(port);
}
