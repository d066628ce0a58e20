#include "sparse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "airlock.h"
#include "io.h"
#include "proto.h"

enum { CHUNK = 256 * 1024, FROM = 3, TO = 4 };

static bool copy_range(int from, int to, off_t at, off_t end) {
    static uint8_t data[CHUNK];
    while (at < end) {
        size_t want = end - at < CHUNK ? (size_t)(end - at) : CHUNK;
        ssize_t n = pread(from, data, want, at);
        if (n == 0) errno = EIO;
        if (n <= 0 || lseek(to, at, SEEK_SET) < 0 || !write_all(to, data, (size_t)n)) return false;
        at += n;
    }
    return true;
}

bool sparse_copy(int from, int to, off_t end) {
    for (off_t at = 0; at < end;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) return errno == ENXIO;
        at = lseek(from, data, SEEK_HOLE);
        if (at < 0 || !copy_range(from, to, data, at < end ? at : end)) return false;
    }
    return true;
}

/* The host keeps the memory of a machine that stands still: from descriptor 3 to descriptor 4, which has the length of that already. */
int keep_main(void) {
    struct stat st;
    if (fstat(TO, &st) == 0 && sparse_copy(FROM, TO, st.st_size)) return 0;
    fprintf(stderr, "glovebox-agent: %s\n", strerror(errno));
    return EXIT_REFUSED;
}
