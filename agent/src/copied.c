/* The life of the trees that a machine has in its memory. */
#include "copied.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fail.h"
#include "kernel.h"
#include "machine.h"
#include "proto.h"
#include "vsock.h"

enum {
    /* A host that takes longer to say that it has everything is gone. */
    FAREWELL_MS = 20 * 1000,
    TICK_NS = 1000000,
};

static void mount_trees(const char *place, uint64_t bytes) {
    char options[64];
    snprintf(options, sizeof options, "size=%llu,mode=0755", (unsigned long long)bytes);
    if (mkdir(place, 0755) < 0 && errno != EEXIST) fail_sys("mkdir", place);
    if (mount("copied", place, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0) fail_sys("mount", place);
}

/* The clock of the file system goes in ticks: what is changed from now on bears a later time. */
static void seal(struct copied *c) {
    const struct timespec tick = {.tv_nsec = TICK_NS};
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME_COARSE, &c->sealed) < 0) fail_sys("clock_gettime", NULL);
    do {
        nanosleep(&tick, NULL);
        if (clock_gettime(CLOCK_REALTIME_COARSE, &now) < 0) fail_sys("clock_gettime", NULL);
    } while (now.tv_sec == c->sealed.tv_sec && now.tv_nsec == c->sealed.tv_nsec);
}

/* Where the host sends them, and is there to do so. */
static int open_port(void) {
    if (vsock_wanted()) return vsock_files();
    int port = hardware_port("glovebox.files");
    hardware_await_host(port);
    return port;
}

void copied_in(struct copied *c, const struct machine_spec *spec) {
    *c = (struct copied){.port = -1, .root = -1, .bytes = spec->copied_bytes};
    if (c->bytes == 0) return;
    fail_stage("copy");
    mount_trees(MACHINE_COPIED, c->bytes);
    c->root = open(MACHINE_COPIED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->root < 0) fail_sys("open", MACHINE_COPIED);
    c->port = open_port();
    const char *step = copied_take(c, spec->uid, spec->gid);
    if (step != NULL) fail_sys(step, "the copied trees");
    seal(c);
}

static int watch(pid_t pid) {
    int fd = pid > 0 ? (int)syscall(NR_PIDFD_OPEN, pid, 0) : -1;
    if (pid > 0 && fd < 0) fail_sys("pidfd_open", NULL);
    return fd;
}

/* False when the host says nothing more. */
static bool obey(const struct copied *c, pid_t child) {
    uint8_t order;
    ssize_t n = read(c->port, &order, 1);
    if (n < 0 && errno == EINTR) return true;
    if (n <= 0) return false;
    if (order == ORDER_END) return kill(child, SIGKILL) == 0;
    if (order == ORDER_GIVE || order == ORDER_GIVE_ALL) return copied_give(c, order == ORDER_GIVE_ALL, false);
    return true;
}

void copied_serve(const struct copied *c, pid_t child, pid_t relay) {
    struct pollfd all[] = {{.fd = watch(child), .events = POLLIN}, {.fd = watch(relay), .events = POLLIN}, {.fd = c->port, .events = POLLIN}};
    while ((all[0].revents | all[1].revents) == 0) {
        if (poll(all, sizeof all / sizeof *all, -1) < 0) {
            if (errno != EINTR) fail_sys("poll", NULL);
            continue;
        }
        if (all[2].revents != 0 && !obey(c, child)) all[2].fd = -1;
    }
    close(all[0].fd);
    if (all[1].fd >= 0) close(all[1].fd);
}

void copied_out(const struct copied *c) {
    bool whole = false;
    for (bool more = true; more;) {
        uint8_t order = 0;
        struct pollfd port = {.fd = c->port, .events = POLLIN};
        if (!copied_give(c, whole, true)) return;
        /* Orders that came too late are answered by this one. */
        do more = poll(&port, 1, FAREWELL_MS) == 1 && read(c->port, &order, 1) == 1;
        while (more && order != ORDER_GIVE_ALL && order != ORDER_DONE);
        whole = true;
        more = more && order == ORDER_GIVE_ALL;
    }
}
