#include "machine.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "copied.h"
#include "fail.h"
#include "forget.h"
#include "keeper.h"
#include "loop.h"
#include "oom.h"
#include "proto.h"
#include "relay.h"
#include "vsock.h"

enum {
    /* A host that does not close its end by then is gone or stopped. */
    FAREWELL_MS = 2000,
    /* To write why there is no sandbox. */
    LAST_WORDS_S = 5,
    /* Two descriptors for each connection that is carried (RELAY_LINKS_MAX), and the listeners. */
    RELAY_FILES = 4096,
    /* Copied trees are walked on it. */
    STACK = 512 * 1024,
    NOBODY = 65534,
};

struct order {
    const struct machine_spec *spec;
    int network;
};

/* False with errno when the host is gone. */
static bool try_u32(uint16_t type, uint16_t tag, uint32_t value) {
    struct buf out = {0};
    size_t mark;
    if (!frame_begin(&out, type, 0, &mark) || !tlv_u32(&out, tag, value)) fail_msg("memory", NULL, "out of memory");
    frame_end(&out, mark);
    bool ok = write_all(CHANNEL_FD, buf_head(&out), out.len);
    buf_free(&out);
    return ok;
}

static void send_u32(uint16_t type, uint16_t tag, uint32_t value) {
    if (!try_u32(type, tag, value)) fail_sys("write", "channel");
}

/* A copy has no connection any more, and its host makes a new one: whoever comes is told, and who says nothing may go again. */
static void await_connection(void) {
    while (!try_u32(F_MACHINE_READY, MR_VERSION, PROTOCOL_VERSION) || !vsock_await_word()) {
        close(CHANNEL_FD);
        vsock_accept();
    }
}

/* From here on the machine is as it may be copied: it knows nothing of any sandbox. */
static void read_spec(struct machine_spec *spec) {
    uint8_t *payload;
    size_t len;
    fail_stage("ready");
    if (vsock_wanted()) {
        await_connection();
    } else {
        send_u32(F_MACHINE_READY, MR_VERSION, PROTOCOL_VERSION);
        hardware_await_host(CHANNEL_FD);
    }
    fail_stage("spec");
    int got = frame_read(CHANNEL_FD, F_MACHINE, &payload, &len);
    const char *problem = got != 1 ? "malformed frame" : machine_parse((struct slice){payload, len}, spec);
    if (problem != NULL) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "parse", .message = problem});
}

/* Over the card, or over the same way as the channel. Neither address may move while the relay runs. */
static void connect_relay(const struct machine_spec *spec) {
    static struct k_sockaddr_vm host;
    if (spec->relay_port == 0) {
        relay_connect((const struct sockaddr *)&spec->relay, sizeof spec->relay);
        return;
    }
    host = vsock_gateway(spec->relay_port);
    relay_connect((const struct sockaddr *)&host, sizeof host);
}

/* The relay needs its sockets and nothing else. */
static _Noreturn void relay_process(const struct machine_spec *spec, int ready) {
    const struct rlimit files = {RELAY_FILES, RELAY_FILES};
    fail_stage("relay");
    signal(SIGPIPE, SIG_IGN);
    if (setrlimit(RLIMIT_NOFILE, &files) < 0) fail_sys("setrlimit", "RLIMIT_NOFILE");
    connect_relay(spec);
    if (setresgid(NOBODY, NOBODY, NOBODY) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0) fail_sys("setresuid", NULL);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) fail_sys("prctl", NULL);
    if (!write_all(ready, "", 1)) fail_sys("write", "ready");
    close(ready);
    close(CHANNEL_FD);
    relay_run(keeper_relay_speaks);
}

/* A process of its own: it handles what the sandbox sends, and its end is not the kernel's. */
static pid_t start_relay(const struct machine_spec *spec) {
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0) fail_sys("pipe", NULL);
    pid_t pid = fork();
    if (pid < 0) fail_sys("fork", "relay");
    if (pid == 0) {
        close(ready[0]);
        relay_process(spec, ready[1]);
    }
    close(ready[1]);
    /* It has said why. */
    if (!read_all(ready[0], &byte, 1)) _exit(EXIT_REFUSED);
    close(ready[0]);
    return pid;
}

static int open_namespace(void) {
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_sys("open", "/proc/self/ns/net");
    return fd;
}

/* The sandbox's network: loopback. It takes the kernel long to make, so it is there before anybody knows of a sandbox. */
static int make_network(void) {
    fail_stage("network");
    int outer = open_namespace();
    if (unshare(CLONE_NEWNET) < 0) fail_sys("unshare", "network");
    relay_own_addresses();
    int inner = open_namespace();
    if (setns(outer, CLONE_NEWNET) < 0) fail_sys("setns", "network");
    close(outer);
    return inner;
}

/* What arrives in the sandbox's network is carried over the card, which is in another one. */
static void listen_inside(int inner, const struct listeners *listeners) {
    fail_stage("network");
    int outer = open_namespace();
    if (setns(inner, CLONE_NEWNET) < 0) fail_sys("setns", "network");
    relay_listen_linux(listeners);
    if (setns(outer, CLONE_NEWNET) < 0) fail_sys("setns", "network");
    close(outer);
}

static void mount_share(const char *tag, const char *place, unsigned long flags) {
    if (tag == NULL) return;
    fail_stage("share");
    if (mkdir(place, 0755) < 0 && errno != EEXIST) fail_sys("mkdir", place);
    if (mount(tag, place, "virtiofs", flags | MS_NOSUID | MS_NODEV, NULL) < 0) fail_sys("mount virtiofs", tag);
}

static pid_t start_child(const struct order *order) {
    fail_stage("sandbox");
    pid_t pid = keeper_clone(CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS);
    if (pid < 0) fail_sys("clone3", NULL);
    if (pid == 0) machine_child(order->spec, order->network);
    return pid;
}

/* The sandbox's end ends all; so does the relay's or the keeper's, without which it would go on in a different way than it was meant to. */
static int await_end(const struct machine_spec *spec, pid_t child, pid_t relay) {
    int status;
    fail_stage("sandbox");
    for (;;) {
        pid_t pid = wait4(-1, &status, 0, NULL);
        if (pid == child) return status;
        if (keeper_is(pid)) fail_msg("keeper", NULL, "the keeper ended");
        if (pid == relay && relay > 0) {
            if (!keeper_renews()) fail_msg("relay", NULL, "the relay ended");
            relay = start_relay(spec);
            keeper_knows(child, relay);
            continue;
        }
        if (pid < 0 && errno != EINTR) fail_sys("wait4", NULL);
    }
}

/* Everything that can fail. The process that the kernel must not lose only waits for this one. */
static int stage(void *unused) {
    static struct machine_spec spec;
    static struct copied copied;
    (void)unused;
    signal(SIGPIPE, SIG_IGN);
    fail_also_stderr(LAST_WORDS_S);
    hardware_mounts();
    if (!write_file("/proc/1/oom_score_adj", "-1000") || !write_file("/proc/self/oom_score_adj", "-1000"))
        fail_sys("write", "oom_score_adj");
    hardware_modules();
    hardware_channel();
    hardware_base();
    hardware_card();
    keeper_start();
    struct order order = {.spec = &spec, .network = make_network()};
    read_spec(&spec);
    hardware_personal(&spec);
    keeper_boot_id(spec.id);
    pid_t relay = 0;
    if (spec.has_network) {
        if ((spec.flags & MACHINE_RUNTIME) != 0) relay_listen_unix(MACHINE_RELAY, spec.uid);
        else listen_inside(order.network, &spec.listeners);
        if (spec.has_ssh_agent) relay_listen_ssh_agent(MACHINE_SSH_AGENT, spec.uid);
        relay = start_relay(&spec);
    }
    mount_share(spec.base, MACHINE_BASE, MS_RDONLY);
    mount_share(spec.share, MACHINE_SHARE, 0);
    forget_start(spec.files);
    copied_in(&copied, &spec);
    pid_t child = start_child(&order);
    keeper_knows(child, relay);
    if (copied.root >= 0) copied_serve(&copied, child, relay);
    int status = await_end(&spec, child, relay);
    if (copied.root >= 0) copied_out(&copied);
    alarm(LAST_WORDS_S);
    if (fcntl(CHANNEL_FD, F_SETFL, 0) < 0) fail_sys("fcntl", "channel");
    uint32_t kills = oom_kills();
    /* Whoever was to tell it may be among them. */
    if (kills > 0) send_u32(F_OOM, OOM_KILLS, kills);
    send_u32(F_MACHINE_ENDED, ME_STATUS, (uint32_t)exit_code(status));
    _exit(0);
}

/* What was written last may not have left the machine: the host closes its end when it has it. */
static void part_from_host(void) {
    struct stat st;
    char ignored[4096];
    if (fstat(CHANNEL_FD, &st) < 0 || !(S_ISCHR(st.st_mode) || S_ISSOCK(st.st_mode))) return;
    fcntl(CHANNEL_FD, F_SETFL, O_NONBLOCK);
    int64_t until = now_ms() + FAREWELL_MS;
    for (int64_t left = FAREWELL_MS; left > 0; left = until - now_ms()) {
        struct pollfd port = {.fd = CHANNEL_FD, .events = POLLIN};
        poll(&port, 1, (int)left);
        if ((port.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0) return;
        ssize_t n;
        while ((n = read(CHANNEL_FD, ignored, sizeof ignored)) > 0) continue;
        if (n == 0) return;
    }
}

/* A hypervisor without virtio-serial is one that nobody inside can switch off: it ends when its machine starts again. */
static _Noreturn void power_off(void) {
    hardware_part();
    sync();
    if (!vsock_wanted()) reboot(RB_POWER_OFF);
    reboot(RB_AUTOBOOT);
    for (;;) pause();
}

/* The kernel panics when this process ends. So it does as little as it can, and what fails, fails in another one. */
int machine_main(void) {
    static _Alignas(16) char stack[STACK];
    if (getpid() != 1) {
        fputs("glovebox-agent: this stage runs only as the first process of a machine\n", stderr);
        return EXIT_REFUSED;
    }
    /* The descriptors are shared, so that the channel is still there when that process is not. */
    pid_t worker = clone(stage, stack + sizeof stack, CLONE_FILES | SIGCHLD, NULL);
    for (pid_t pid = worker; pid > 0;) {
        pid = wait4(-1, NULL, 0, NULL);
        if (pid == worker) break;
        if (pid < 0 && errno == EINTR) pid = worker;
    }
    part_from_host();
    power_off();
}
