/* Failing closed: one ERROR frame on the channel (or a line on stderr when there is none), then exit 125. */
#ifndef GLOVEBOX_FAIL_H
#define GLOVEBOX_FAIL_H

#include "wire.h"

/* Where ERROR frames go; -1 means stderr. */
void fail_channel(int fd);
/* Failures go to stderr besides, and writing the frame may take this long at most: nobody may be there to read it. */
void fail_also_stderr(unsigned seconds);
/* Names the stage that later failures report. */
void fail_stage(const char *stage);
/* What the last stage was. */
const char *fail_current_stage(void);

struct failure {
    uint32_t code;       /* enum error_code */
    const char *op;      /* the step, in words or the system call's name */
    int err;             /* errno, 0 when none */
    const char *path;    /* NULL when none */
    const char *message; /* why, when errno does not say it; NULL when none */
};

/* Appends the ERROR frame; false when memory is exhausted. */
bool fail_encode(struct buf *out, const struct failure *f);

_Noreturn void fail_with(const struct failure *f);
/* The common case: the system call `op` failed with the current errno. */
_Noreturn void fail_sys(const char *op, const char *path);
/* A message of our own. */
_Noreturn void fail_msg(const char *op, const char *path, const char *message);

#endif
