/* The inside stage: pid 1 of the jail. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "airlock.h"
#include "confine.h"
#include "fail.h"
#include "guest.h"
#include "loop.h"
#include "machine.h"
#include "relay.h"

static void become_init(void) {
    /* `kill(-1)` of this stage must reach the jail's processes only. */
    if (getpid() != 1) fail_msg("init", NULL, "this stage runs only as the first process of a pid namespace");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) fail_sys("prctl", "PR_SET_PDEATHSIG");
    if (setsid() < 0 && errno != EPERM) fail_sys("setsid", NULL);
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) fail_sys("prctl", "PR_SET_DUMPABLE");
    signal(SIGPIPE, SIG_IGN);
}

/* What whoever started us ignored, the commands would ignore too. The first process of a guest kernel has nothing to inherit. */
static void reset_signals(const struct boot_spec *spec) {
    for (int signo = 1; !spec->guest && signo <= 64; signo++)
        if (signo != SIGPIPE) signal(signo, SIG_DFL);
}

/* keyctl(2): without this the jail would share the caller's session keyring. */
static void leave_keyring(struct confinement *out) {
    fail_stage("keyring");
    if (syscall(SYS_keyctl, K_KEYCTL_JOIN_SESSION_KEYRING, NULL, 0, 0, 0) >= 0) out->flags |= HELLO_KEYRING;
    else if (errno != ENOSYS && errno != EPERM && errno != EDQUOT) fail_sys("keyctl", NULL);
}

void queue_hello(struct loop *l) {
    const struct confinement *c = l->confinement;
    size_t mark;
    struct buf *out = &l->out;
    bool ok = frame_begin(out, F_HELLO, 0, &mark) && tlv_u32(out, H_VERSION, PROTOCOL_VERSION) &&
              tlv_u32(out, H_LANDLOCK_ABI, c->landlock_abi) && tlv_u32(out, H_FLAGS, c->flags) &&
              tlv_u32(out, H_PID, (uint32_t)getpid()) && tlv_u32(out, H_UID, (uint32_t)getuid()) &&
              tlv_u32(out, H_GID, (uint32_t)getgid());
    loop_must(l, ok);
    frame_end(out, mark);
}

/* `out` is where frames go; they come in on CHANNEL_FD. */
static _Noreturn void serve(int out) {
    struct boot_spec boot;
    struct confinement confinement = {0};
    uint8_t *payload;
    size_t len;
    fail_channel(out);
    fail_stage("boot");
    become_init();
    if (out == CHANNEL_FD) keep_descriptors();
    leave_keyring(&confinement);
    fail_stage("boot");
    int got = frame_read(CHANNEL_FD, F_BOOT, &payload, &len);
    close(IPC_FD);
    if (got == 0) _exit(EXIT_REFUSED);
    const char *problem = got < 0 ? "malformed frame" : boot_parse((struct slice){payload, len}, &boot);
    if (problem != NULL) fail_with(&(struct failure){.code = ERR_PROTOCOL, .op = "parse", .message = problem});
    reset_signals(&boot);
    verify_masks(&boot);
    guest_network(&boot);
    relay_listen(&boot);
    guest_identity(&boot);
    confine(&boot, &confinement);
    if ((boot.flags & BOOT_HAND_CHANNEL) != 0) runtime_run(&boot);
    relay_start();
    struct loop loop = {.boot = &boot, .confinement = &confinement, .out_fd = out, .signal_fd = -1};
    queue_hello(&loop);
    /* Starting a thread takes a guest kernel milliseconds, in which the host can go on. */
    if (!write_all(out, buf_head(&loop.out), loop.out.len)) _exit(EXIT_REFUSED);
    buf_consume(&loop.out, loop.out.len);
    relay_release();
    loop_run(&loop);
}

int init_main(void) { serve(CHANNEL_FD); }

int stdio_main(void) {
    fail_stage("boot");
    channel_from_stdio();
    serve(CHANNEL_OUT_FD);
}
