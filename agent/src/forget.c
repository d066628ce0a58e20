#include "forget.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "fail.h"
#include "io.h"
#include "kernel.h"

/* Between two looks: nothing wakes anybody when the kernel learns of a file. An emulated one learns of some ten in a millisecond. */
enum { BUSY_MS = 20, IDLE_MS = 100, IN_VAIN_MS = 2000 };

/* All of them, those that nobody uses among them: the first number of /proc/sys/fs/inode-nr. */
static long known_files(int counts) {
    char text[64];
    ssize_t n = pread(counts, text, sizeof text - 1, 0);
    if (n <= 0) return 0;
    text[n] = '\0';
    return strtol(text, NULL, 10);
}

static void rest(long ms) {
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

/* Names and files first; what has content in memory is only let go of when that goes too (vm.drop_caches). What is in use stays. */
static void forget(int counts, int drop, long until) {
    static const char *const ways[] = {"2", "3"};
    for (int i = 0; i < 2 && known_files(counts) > until; i++)
        if (pwrite(drop, ways[i], 1, 0) < 0) return;
}

/* The half that is left is for what the server is asked for until the next look, and for what is open. */
static _Noreturn void guard(int counts, int drop, uint32_t most) {
    const long before = known_files(counts), half = (long)most / 2;
    for (;;) {
        long known = known_files(counts) - before;
        bool full = known > half;
        if (full) forget(counts, drop, before + half);
        bool vain = full && known_files(counts) - before > half;
        rest(vain ? IN_VAIN_MS : known > half / 2 ? BUSY_MS : IDLE_MS);
    }
}

void forget_start(uint32_t most) {
    if (most == 0) return;
    fail_stage("files");
    int counts = open("/proc/sys/fs/inode-nr", O_RDONLY | O_CLOEXEC), drop = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (counts < 0 || drop < 0) fail_sys("open", "/proc/sys");
    pid_t pid = fork();
    if (pid < 0) fail_sys("fork", "files");
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) _exit(1);
        /* Not the channel: its end is the machine's. */
        for (int fd = 0; fd < 64; fd++)
            if (fd != counts && fd != drop) close(fd);
        guard(counts, drop, most);
    }
    close(counts);
    close(drop);
}
