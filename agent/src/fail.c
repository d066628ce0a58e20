#include "fail.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io.h"
#include "proto.h"

static int channel = -1;
static const char *stage = "start";
static unsigned patience;

void fail_channel(int fd) { channel = fd; }

void fail_also_stderr(unsigned seconds) { patience = seconds; }

void fail_stage(const char *name) { stage = name; }

const char *fail_current_stage(void) { return stage; }

bool fail_encode(struct buf *out, const struct failure *f) {
    size_t mark;
    bool ok = frame_begin(out, F_ERROR, 0, &mark) && tlv_u32(out, E_CODE, f->code) && tlv_str(out, E_STAGE, stage) &&
              tlv_str(out, E_OP, f->op) && tlv_u32(out, E_ERRNO, (uint32_t)f->err);
    if (ok && f->path != NULL) ok = tlv_put(out, E_PATH, f->path, strnlen(f->path, 4096));
    if (ok && f->message != NULL) ok = tlv_put(out, E_MESSAGE, f->message, strnlen(f->message, 1024));
    if (ok) frame_end(out, mark);
    return ok;
}

static void complain(const struct failure *f) {
    fprintf(stderr, "glovebox-agent: %s: %s%s%s%s%s\n", stage, f->op, f->path == NULL ? "" : " ",
            f->path == NULL ? "" : f->path, f->message == NULL && f->err == 0 ? "" : ": ",
            f->message != NULL ? f->message : (f->err == 0 ? "" : strerror(f->err)));
}

_Noreturn void fail_with(const struct failure *f) {
    struct buf out = {0};
    if (patience > 0) {
        if (channel >= 0) complain(f);
        alarm(patience);
    }
    if (channel < 0 || !fail_encode(&out, f) || !write_all(channel, buf_head(&out), out.len)) complain(f);
    _exit(EXIT_REFUSED);
}

_Noreturn void fail_sys(const char *op, const char *path) {
    fail_with(&(struct failure){.code = ERR_START, .op = op, .err = errno, .path = path});
}

_Noreturn void fail_msg(const char *op, const char *path, const char *message) {
    fail_with(&(struct failure){.code = ERR_START, .op = op, .path = path, .message = message});
}
