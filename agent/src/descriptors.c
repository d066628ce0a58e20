#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "confine.h"
#include "fail.h"
#include "proto.h"

enum { FD_LIMIT = 65536 };

static void close_span(unsigned first, unsigned last) {
    if (first > last || k_close_range(first, last, 0) == 0) return;
    for (unsigned fd = first; fd <= last && fd < FD_LIMIT; fd++) close((int)fd);
}

static int by_number(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* "5,6,9"; the airlock wrote it, but a mistake here would leak or close the wrong descriptor. */
static int *parse_locks(size_t *count) {
    const char *text = getenv("GLOVEBOX_LOCKS");
    size_t cap = 1;
    for (const char *p = text; p != NULL && *p != '\0'; p++) cap += *p == ',';
    int *fds = calloc(cap, sizeof *fds);
    if (fds == NULL) fail_msg("locks", NULL, "out of memory");
    for (const char *p = text; p != NULL && *p != '\0';) {
        char *end;
        long fd = strtol(p, &end, 10);
        if (end == p || (*end != ',' && *end != '\0') || fd <= CHANNEL_FD || fd >= FD_LIMIT)
            fail_msg("locks", NULL, "GLOVEBOX_LOCKS is malformed");
        fds[(*count)++] = (int)fd;
        p = *end == ',' ? end + 1 : end;
    }
    qsort(fds, *count, sizeof *fds, by_number);
    return fds;
}

void keep_descriptors(void) {
    size_t count = 0;
    int *locks = parse_locks(&count);
    if (fcntl(CHANNEL_FD, F_SETFD, FD_CLOEXEC) < 0) fail_sys("fcntl", "channel");
    unsigned next = CHANNEL_FD + 1;
    close(IPC_FD);
    for (size_t i = 0; i < count; i++) {
        close_span(next, (unsigned)locks[i] - 1);
        if (fcntl(locks[i], F_SETFD, FD_CLOEXEC) < 0) fail_sys("fcntl", "lock");
        next = (unsigned)locks[i] + 1;
    }
    close_span(next, ~0u);
    free(locks);
}
