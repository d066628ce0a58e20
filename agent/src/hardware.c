/* A machine's devices: modules, the channel, disks, clock, random numbers, network card. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "fail.h"
#include "kernel.h"
#include "loop.h"
#include "machine.h"
#include "net.h"
#include "proto.h"
#include "vsock.h"

enum {
    LIST_MAX = 16384,
    NAME_BYTES = 128,
    /* linux/random.h */
    RANDOM_ADD_ENTROPY = 0x40085203,
    RANDOM_RESEED = 0x5207,
    SEED_MAX = 1024,
    /* linux/module.h: the kernel decompresses it itself. */
    MODULE_COMPRESSED = 4,
    /* Nobody tells when a host that is away comes back. */
    HOST_AWAY_MS = 5,
    PORT_MS = 30000,
    EVENT_BYTES = 4096,
};

static const char port_name[] = "glovebox.agent";
static const char port_class[] = "/sys/class/virtio-ports";
static const char disk_serial[] = "base";
/* The kernel's first, and a machine has no other. */
static const char card[] = "eth0";

static void mount_at(const char *type, const char *target, unsigned long flags) {
    if (mkdir(target, 0755) < 0 && errno != EEXIST) fail_sys("mkdir", target);
    /* The kernel may have mounted it before it started us (CONFIG_DEVTMPFS_MOUNT). */
    if (mount(type, target, type, MS_NOSUID | MS_NOEXEC | flags, NULL) < 0 && errno != EBUSY) fail_sys("mount", target);
}

/* The console may be a device whose driver is a module; before that is loaded there is none, and afterwards it has to be opened. */
static void use_console(void) {
    int fd = open("/dev/console", O_RDWR | O_NOCTTY);
    if (fd < 0) fd = open("/dev/null", O_RDWR);
    if (fd < 0) return;
    for (int i = 0; i < 3; i++) dup2(fd, i);
    if (fd > 2) close(fd);
}

void hardware_mounts(void) {
    fail_stage("devices");
    mount_at("devtmpfs", "/dev", 0);
    use_console();
    mount_at("proc", "/proc", MS_NODEV);
    mount_at("sysfs", "/sys", MS_NODEV);
}

static size_t read_text(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    int saved = errno;
    if (fd >= 0) close(fd);
    errno = saved;
    if (n < 0) return 0;
    out[n] = '\0';
    return (size_t)n;
}

static bool is_compressed(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot != NULL && (strcmp(dot, ".xz") == 0 || strcmp(dot, ".gz") == 0 || strcmp(dot, ".zst") == 0);
}

static void load_module(const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_sys("open", path);
    if (syscall(SYS_finit_module, fd, "", is_compressed(path) ? MODULE_COMPRESSED : 0) < 0 && errno != EEXIST)
        fail_sys("finit_module", path);
    close(fd);
}

/* One absolute path a line, in the order in which they are needed. */
void hardware_modules(void) {
    static char list[LIST_MAX];
    fail_stage("modules");
    if (read_text("/modules", list, sizeof list) == 0) fail_sys("read", "/modules");
    for (char *line = strtok(list, "\n"); line != NULL; line = strtok(NULL, "\n")) load_module(line);
    use_console();
}

/* The entry of a directory of /sys whose file says `wanted`; false with errno. */
static bool find_device(const char *class, const char *file, const char *wanted, char name[NAME_BYTES]) {
    DIR *dir = opendir(class);
    if (dir == NULL) return false;
    struct dirent *entry;
    bool found = false;
    while (!found && (entry = readdir(dir)) != NULL) {
        char path[512], text[NAME_BYTES];
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= NAME_BYTES) continue;
        snprintf(path, sizeof path, "%s/%s/%s", class, entry->d_name, file);
        if (read_text(path, text, sizeof text) == 0) continue;
        text[strcspn(text, "\n")] = '\0';
        found = strcmp(text, wanted) == 0;
        if (found) strcpy(name, entry->d_name);
    }
    closedir(dir);
    errno = ENOENT;
    return found;
}

/* netlink(7), NETLINK_KOBJECT_UEVENT: what the kernel finds. */
static int open_events(void) {
    const struct k_sockaddr_nl at = {.family = AF_NETLINK, .groups = 1};
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, K_NETLINK_UEVENT);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof at) < 0) fail_sys("listen", "uevent");
    return fd;
}

/* Ports are announced one by one, some time after their driver is there; on a busy host that shows. */
static void await_port(const char *port, char name[NAME_BYTES]) {
    char event[EVENT_BYTES];
    int events = open_events();
    for (int64_t until = now_ms() + PORT_MS; !find_device(port_class, "name", port, name);) {
        int64_t left = until - now_ms();
        struct pollfd kernel = {.fd = events, .events = POLLIN};
        if (left <= 0) fail_sys("find port", port);
        if (poll(&kernel, 1, (int)left) <= 0) continue;
        while (recv(events, event, sizeof event, MSG_DONTWAIT) > 0) continue;
    }
    close(events);
}

int hardware_port(const char *port) {
    char name[NAME_BYTES], path[NAME_BYTES + 8];
    await_port(port, name);
    snprintf(path, sizeof path, "/dev/%s", name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) fail_sys("open", path);
    return fd;
}

void hardware_channel(void) {
    fail_stage("channel");
    if (vsock_wanted()) {
        vsock_listen();
        vsock_accept();
        return;
    }
    int fd = hardware_port(port_name);
    /* The console is a port as well, and comes before this one. */
    use_console();
    if (dup2(fd, CHANNEL_FD) < 0) fail_sys("dup2", "channel");
    if (fd != CHANNEL_FD) close(fd);
    if (fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0) fail_sys("fcntl", "channel");
    fail_channel(CHANNEL_FD);
}

void hardware_base(void) {
    char name[NAME_BYTES], path[NAME_BYTES + 8] = "/dev/vda";
    fail_stage("base");
    if (find_device("/sys/block", "serial", disk_serial, name)) snprintf(path, sizeof path, "/dev/%s", name);
    if (mkdir(MACHINE_BASE, 0755) < 0 && errno != EEXIST) fail_sys("mkdir", MACHINE_BASE);
    /* A machine without a disk has its base system from the host's share. */
    if (access(path, F_OK) < 0) return;
    if (mount(path, MACHINE_BASE, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV, NULL) < 0) fail_sys("mount", path);
}

void hardware_await_host(int fd) {
    const struct timespec moment = {.tv_nsec = HOST_AWAY_MS * 1000000L};
    for (;;) {
        struct pollfd port = {.fd = fd, .events = POLLIN};
        if (poll(&port, 1, -1) < 0 && errno != EINTR) fail_sys("poll", "channel");
        if ((port.revents & POLLHUP) != 0) nanosleep(&moment, NULL);
        else if ((port.revents & POLLIN) != 0) return;
    }
}

/* random(4) */
static void seed_random(struct slice seed) {
    struct {
        int bits, size;
        uint8_t bytes[SEED_MAX];
    } pool = {.bits = (int)(seed.len * 8), .size = (int)seed.len};
    if (seed.len > SEED_MAX) fail_msg("seed", NULL, "too long");
    memcpy(pool.bytes, seed.ptr, seed.len);
    int fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
    if (fd < 0) fail_sys("open", "/dev/urandom");
    if (ioctl(fd, RANDOM_ADD_ENTROPY, &pool) < 0 || ioctl(fd, RANDOM_RESEED) < 0) fail_sys("seed", "/dev/urandom");
    close(fd);
}

void hardware_clock(uint64_t ns) {
    struct timespec now = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    if (clock_settime(CLOCK_REALTIME, &now) < 0) fail_sys("clock_settime", NULL);
}

void hardware_personal(const struct machine_spec *spec) {
    fail_stage("personal");
    seed_random(spec->seed);
    hardware_clock(spec->clock_ns);
    if (sethostname(spec->hostname, strlen(spec->hostname)) < 0) fail_sys("sethostname", NULL);
}

static bool parse_subnet(const char *text, struct in_addr *address, uint8_t *prefix_len) {
    char own[INET_ADDRSTRLEN], rest;
    unsigned bits;
    if (sscanf(text, "%15[0-9.]/%2u%c", own, &bits, &rest) != 2 || bits > 32) return false;
    *prefix_len = (uint8_t)bits;
    return inet_pton(AF_INET, own, address) == 1;
}

void hardware_card(void) {
    struct in_addr address;
    uint8_t prefix_len;
    /* The kernel makes what it does not know of its command line the first process' environment. */
    const char *subnet = getenv("glovebox_card");
    if (subnet == NULL) return;
    fail_stage("card");
    if (!parse_subnet(subnet, &address, &prefix_len)) fail_msg("parse", subnet, "no subnet of IPv4");
    unsigned index = if_nametoindex(card);
    if (index == 0) fail_sys("find card", card);
    /* An own address of IPv6 would make the card speak before anybody asked it to. */
    if (!write_file("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "1") && errno != ENOENT) fail_sys("disable ipv6", card);
    if (!net_add_ipv4(index, address, prefix_len)) fail_sys("address", card);
    if (!net_up(card)) fail_sys("up", card);
}

void hardware_part(void) { net_down(card); }
