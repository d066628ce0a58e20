#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "confine.h"
#include "fail.h"
#include "proto.h"

enum { FD_LIMIT = 65536 };

static void close_from(unsigned first) {
    if (k_close_range(first, ~0u, 0) == 0) return;
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
