/* Fuzz entry: a stream of frames as the agent reads them, and every parser that a payload can reach. */
#include <stdlib.h>
#include <string.h>

#include "../src/glob.h"
#include "../src/memory.h"
#include "../src/proto.h"
#include "../src/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_memory(struct slice payload) {
    struct memory m;
    uint8_t *copy = malloc(payload.len + 1);
    if (copy == NULL) return;
    memcpy(copy, payload.ptr, payload.len);
    uint64_t key = payload.len < 14 ? 0 : get_u64(payload.ptr + 6);
    if (memory_parse(&m, copy, payload.len, key)) memory_free(&m);
}

static void parse(uint16_t type, struct slice payload) {
    parse_memory(payload);
    struct airlock_spec airlock = {0};
    struct boot_spec boot = {0};
    struct exec_spec exec = {0};
    struct finish_spec finish = {0};
    switch (type & 3) {
    case 0: airlock_parse(payload, &airlock); break;
    case 1:
        if (boot_parse(payload, &boot) == NULL && boot.exec.ptr != NULL) exec_parse(boot.exec, &exec);
        break;
    case 2: exec_parse(payload, &exec); break;
    default:
        if (finish_parse(payload, &finish) != NULL) break;
        for (size_t i = 0; i < finish.patterns.count; i++) {
            struct glob g;
            if (glob_parse(finish.patterns.items[i], &g)) glob_matches(&g, payload, payload);
        }
    }
    arena_free(&airlock.arena);
    arena_free(&boot.arena);
    arena_free(&exec.arena);
    arena_free(&finish.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf in = {0};
    if (!buf_put(&in, data, size)) return 0;
    struct frame f;
    while (in.len >= FRAME_HEADER && frame_decode(buf_head(&in), &f) && in.len - FRAME_HEADER >= f.length) {
        /* An exact copy, so that a read past the payload is seen. */
        uint8_t *copy = malloc(f.length == 0 ? 1 : f.length);
        if (copy == NULL) break;
        memcpy(copy, buf_head(&in) + FRAME_HEADER, f.length);
        parse(f.type, (struct slice){copy, f.length});
        free(copy);
        buf_consume(&in, FRAME_HEADER + f.length);
    }
    buf_free(&in);
    return 0;
}
