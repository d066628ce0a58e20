/*
 * What a hypervisor with vsock does on the host, done inside the guest: the first process of a test's machine, which then becomes the agent.
 * Its host is the loopback transport (vsock(7), VMADDR_CID_LOCAL); what the agent says goes on over the virtio-serial port, and what its relay
 * connects to over QEMU's user-mode network. Linked with the agent's sources but main.c.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/kernel.h"
#include "../src/net.h"
#include "../src/vsock.h"

enum { RELAY_PORT = 1025, LOCAL = 1, AGAIN_US = 20 * 1000, CHUNK = 64 * 1024, PREFIX = 24, PORT_TURNS = 1500 };

static _Noreturn void die(const char *what) {
    perror(what);
    exit(1);
}

static void load_modules(void) {
    char path[256];
    FILE *list = fopen("/modules", "r");
    if (list == NULL) die("/modules");
    while (fgets(path, sizeof path, list) != NULL) {
        path[strcspn(path, "\n")] = '\0';
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST)) die(path);
        close(fd);
    }
    fclose(list);
}

static bool is_named(const char *entry, const char *name) {
    char path[300], text[64] = "";
    snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry);
    FILE *file = fopen(path, "r");
    bool ok = file != NULL && fgets(text, sizeof text, file) != NULL;
    if (file != NULL) fclose(file);
    text[strcspn(text, "\n")] = '\0';
    return ok && strcmp(text, name) == 0;
}

/* The port of this name, or -1. */
static int open_port(const char *name) {
    DIR *dir = opendir("/sys/class/virtio-ports");
    struct dirent *entry;
    int fd = -1;
    while (dir != NULL && fd < 0 && (entry = readdir(dir)) != NULL) {
        char path[300];
        if (entry->d_name[0] == '.' || !is_named(entry->d_name, name)) continue;
        snprintf(path, sizeof path, "/dev/%s", entry->d_name);
        fd = open(path, O_RDWR | O_CLOEXEC);
    }
    if (dir != NULL) closedir(dir);
    return fd;
}

/* False when `from` has no more, or `to` is gone. */
static bool carry(int from, int to) {
    static char data[CHUNK];
    ssize_t n = read(from, data, sizeof data);
    for (ssize_t at = 0; n > 0 && at < n;) {
        ssize_t put = write(to, data + at, (size_t)(n - at));
        if (put < 0) return false;
        at += put;
    }
    return n > 0;
}

/* Both ways, until `last` of them ended: a port cannot be closed in one direction. */
static void join(int a, int b, int last) {
    struct pollfd sides[2] = {{.fd = a, .events = POLLIN}, {.fd = b, .events = POLLIN}};
    const int fds[2] = {a, b};
    while (last > 0) {
        if (poll(sides, 2, -1) < 0 && errno != EINTR) die("poll");
        for (int i = 0; i < 2; i++) {
            if (sides[i].fd < 0 || sides[i].revents == 0 || carry(fds[i], fds[1 - i])) continue;
            shutdown(fds[1 - i], SHUT_WR);
            sides[i].fd = -1;
            last--;
        }
    }
}

/* Ports are announced some time after their driver is there. */
static int await_port(const char *name) {
    for (int turn = 0; turn < PORT_TURNS; turn++) {
        int fd = open_port(name);
        if (fd >= 0) return fd;
        usleep(AGAIN_US);
    }
    errno = ENOENT;
    die(name);
}

static bool is_attended(int port) {
    struct pollfd side = {.fd = port, .events = POLLIN};
    return poll(&side, 1, 0) >= 0 && (side.revents & POLLHUP) == 0;
}

/* The agent is asked until it listens, as Firecracker's host does; a host that hangs up ends the connection, and the next one makes another. */
static _Noreturn void serve_port(int port, uint32_t vsock_port) {
    const struct k_sockaddr_vm agent = {.family = AF_VSOCK, .port = vsock_port, .cid = LOCAL};
    for (;;) {
        int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) die("socket");
        if (is_attended(port) && connect(fd, (const struct sockaddr *)&agent, sizeof agent) == 0) join(port, fd, 1);
        close(fd);
        usleep(AGAIN_US);
    }
}

static _Noreturn void serve_relay(uint16_t gateway_port) {
    struct k_sockaddr_vm at = {.family = AF_VSOCK, .port = RELAY_PORT, .cid = K_VMADDR_CID_ANY};
    struct sockaddr_in gateway = {.sin_family = AF_INET, .sin_port = htons(gateway_port)};
    struct in_addr own;
    inet_pton(AF_INET, "10.0.2.2", &gateway.sin_addr);
    inet_pton(AF_INET, "10.0.2.15", &own);
    if (!net_add_ipv4(if_nametoindex("eth0"), own, PREFIX) || !net_up("eth0")) die("eth0");
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (const struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 64) < 0) die("listen");
    for (;;) {
        int from = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (from < 0) die("accept");
        if (fork() == 0) {
            int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
            if (connect(to, (const struct sockaddr *)&gateway, sizeof gateway) == 0) join(from, to, 2);
            exit(0);
        }
        close(from);
    }
}

int main(void) {
    static char *const argv[] = {"/init", NULL};
    const char *gateway = getenv("test_relay");
    /* Some kernels have done that. */
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    if (mkdir("/sys", 0755) < 0 && errno != EEXIST) die("/sys");
    if (mount("sysfs", "/sys", "sysfs", 0, NULL) < 0) die("sysfs");
    load_modules();
    int port = await_port("glovebox.agent"), files = getenv("test_files") == NULL ? -1 : await_port("glovebox.files");
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    if (fork() == 0) serve_port(port, VSOCK_AGENT_PORT);
    if (files >= 0 && fork() == 0) serve_port(files, VSOCK_FILES_PORT);
    close(port);
    if (files >= 0) close(files);
    if (gateway != NULL && fork() == 0) serve_relay((uint16_t)atoi(gateway));
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    /* The agent finds itself there. */
    if (rename("/agent", "/init") < 0) die("/agent");
    execv("/init", argv);
    die("/init");
}
