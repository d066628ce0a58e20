/* After a run, outside the jail: releases placeholders and lists names that matter and appeared. Also the sweep before one. */
#include "finish.h"

#include <stdlib.h>
#include <sys/resource.h>

#include "airlock.h"
#include "fail.h"
#include "memory.h"
#include "proto.h"

static bool encode_finished(struct buf *out, const struct release_counts *released, const struct scan_counts *scanned) {
    size_t mark;
    bool ok = frame_begin(out, F_FINISHED, 0, &mark) && tlv_u32(out, FD_REMOVED, released->removed) &&
              tlv_u32(out, FD_KEPT, released->kept) && tlv_u32(out, FD_ADOPTED, released->adopted) &&
              tlv_u64(out, FD_ENTRIES, scanned->entries) && tlv_u32(out, FD_RESULTS, scanned->results) &&
              tlv_u32(out, FD_UNREADABLE, scanned->unreadable) && tlv_u8(out, FD_TRUNCATED, scanned->truncated);
    if (ok) frame_end(out, mark);
    return ok;
}

/* One descriptor for each directory level of the walk. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int finish_main(void) {
    struct finish_spec spec;
    struct release_counts released = {0};
    struct scan_counts scanned = {0};
    struct buf out = {0}, memory = {0};
    uint8_t *payload;
    size_t len;
    fail_stage("finish");
    int got = frame_read(STDIN_FILENO, F_FINISH_SPEC, &payload, &len);
    if (got <= 0) fail_msg("read", NULL, "malformed frame");
    const char *problem = finish_parse((struct slice){payload, len}, &spec);
    if (problem != NULL) fail_msg("parse", NULL, problem);
    raise_file_limit();
    release_placeholders(&spec, &released);
    if (spec.scan_root != NULL) scan_tree(&spec, &out, STDOUT_FILENO, &scanned, &memory);
    if (!encode_finished(&out, &released, &scanned)) fail_msg("write", NULL, "out of memory");
    if (!write_all(STDOUT_FILENO, buf_head(&out), out.len)) fail_sys("write", NULL);
    /* The host has its answer and does not wait for this. */
    if (memory.len > 0) memory_store(&memory, spec.memory);
    buf_free(&memory);
    buf_free(&out);
    arena_free(&spec.arena);
    free(payload);
    return 0;
}
