#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "confine.h"
#include "fail.h"
#include "proto.h"

enum { FD_LIMIT = 65536 };

static void close_from(unsigned first) {
    if (k_close_range(first, K_FD_LAST, 0) == 0) return;
    for (unsigned fd = first; fd < FD_LIMIT; fd++) close((int)fd);
}

/* The airlock put the locks, directories and files, behind the channel, and /dev/null behind them. */
void keep_descriptors(void) {
    struct stat st;
    if (fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0) fail_sys("fcntl", "channel");
    /* Open until the boot frame is there: see net_hand_over. Not there at all without a network. */
    fcntl(IPC_FD, F_SETFD, FD_CLOEXEC);
    int fd = CHANNEL_FD + 1;
    for (; fstat(fd, &st) == 0 && !S_ISCHR(st.st_mode); fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) fail_sys("fcntl", "lock");
    close_from((unsigned)fd);
}

/* Both pipes are moved away, so that nothing that a command writes by mistake can be taken for the protocol. */
void channel_from_stdio(void) {
    if (dup2(0, CHANNEL_FD) < 0 || dup2(1, CHANNEL_OUT_FD) < 0) fail_sys("dup2", "channel");
    close_from(CHANNEL_OUT_FD + 1);
    close(IPC_FD);
    int null = open("/dev/null", O_RDWR);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0) fail_sys("open", "/dev/null");
    if (null > 2) close(null);
    for (int fd = CHANNEL_FD; fd <= CHANNEL_OUT_FD; fd++)
        if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) fail_sys("fcntl", "channel");
}
