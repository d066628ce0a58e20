#include "oom.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto.h"

/* All of proc_vmstat(5) has some 4 KiB. */
enum { VMSTAT_BYTES = 16 * 1024 };

uint32_t oom_kills(void) {
    static const char name[] = "\noom_kill ";
    static char text[VMSTAT_BYTES];
    int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    size_t have = 0;
    ssize_t n;
    while (have < sizeof text - 1 && (n = read(fd, text + have, sizeof text - 1 - have)) > 0) have += (size_t)n;
    close(fd);
    text[have] = '\0';
    const char *line = strstr(text, name);
    return line == NULL ? 0 : (uint32_t)strtoul(line + sizeof name - 1, NULL, 10);
}

bool oom_tell(struct buf *out, uint32_t kills) {
    size_t mark;
    if (!frame_begin(out, F_OOM, 0, &mark) || !tlv_u32(out, OOM_KILLS, kills)) return false;
    frame_end(out, mark);
    return true;
}
