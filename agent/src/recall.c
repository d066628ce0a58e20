/* A machine that goes on where its template stopped, and shares its memory with file servers: it needs a memory of its own. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "airlock.h"
#include "fail.h"
#include "io.h"
#include "proto.h"

/* Places of the jail: src/drivers/qemu/layout.ts. */
static const char template[] = "/machine/template";
static const char memory[] = "/memory/ram";

enum { CHUNK = 256 * 1024 };

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

/* What was never written takes no room, and no time. */
static bool copy_sparse(int from, int to) {
    struct stat st;
    if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0) return false;
    for (off_t at = 0;;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0) return errno == ENXIO;
        at = lseek(from, data, SEEK_HOLE);
        if (at < 0 || !copy_range(from, to, data, at)) return false;
    }
}

/* Before it is told anything: the file servers start meanwhile. */
int recall_main(void) {
    fail_channel(CHANNEL_FD);
    fail_stage("memory");
    int from = open(template, O_RDONLY | O_CLOEXEC);
    if (from < 0) fail_sys("open", template);
    int to = open(memory, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0) fail_sys("open", memory);
    if (!copy_sparse(from, to)) fail_sys("copy", memory);
    close(from);
    close(to);
    return init_main();
}
