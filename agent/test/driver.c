/* Runs the fuzz entry without libFuzzer: well-formed frames, then deterministic mutations of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/proto.h"
#include "../src/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state = 0x9e3779b97f4a7c15u;

/* xorshift64: the same inputs on every machine. */
static uint32_t next(uint32_t bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % bound;
}

static void random_value(struct buf *b) {
    static const char *const words[] = {"/", "/bin/sh", "a/b/c", "..", "*", ".git/hooks/*", ""};
    uint8_t bytes[32];
    uint16_t tag = (uint16_t)(1 + next(13));
    if (next(3) == 0) {
        tlv_str(b, tag, words[next(7)]);
        return;
    }
    size_t n = next(4) == 0 ? next(sizeof bytes) : (size_t[]){1, 4, 8, 24}[next(4)];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(next(3) == 0 ? next(256) : next(5));
    tlv_put(b, tag, bytes, n);
}

static void random_frame(struct buf *b) {
    size_t mark;
    frame_begin(b, (uint16_t)(F_BOOT - 3 + next(8)), next(3), &mark);
    for (uint32_t i = next(12); i > 0; i--) random_value(b);
    frame_end(b, mark);
}

int main(int argc, char **argv) {
    long runs = argc > 1 ? strtol(argv[1], NULL, 10) : 100000;
    for (long i = 0; i < runs; i++) {
        struct buf b = {0};
        for (uint32_t n = 1 + next(3); n > 0; n--) random_frame(&b);
        for (uint32_t n = next(4); n > 0 && b.len > 0; n--) buf_head(&b)[next((uint32_t)b.len)] = (uint8_t)next(256);
        if (next(4) == 0) b.len = next((uint32_t)b.len + 1);
        LLVMFuzzerTestOneInput(buf_head(&b), b.len);
        buf_free(&b);
    }
    printf("%ld inputs\n", runs);
    return 0;
}
