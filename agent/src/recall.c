/* A machine that goes on where its template stopped, and shares its memory with file servers: it needs a memory of its own. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "airlock.h"
#include "fail.h"
#include "proto.h"
#include "sparse.h"

/* Places of the jail: src/drivers/qemu/layout.ts. */
static const char template[] = "/machine/template";
static const char memory[] = "/memory/ram";

/* What was never written takes no room, and no time. */
static bool copy_sparse(int from, int to) {
    struct stat st;
    return fstat(from, &st) == 0 && ftruncate(to, st.st_size) == 0 && sparse_copy(from, to, st.st_size);
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
