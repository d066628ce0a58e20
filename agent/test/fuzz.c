/* Fuzz entry: a stream of frames as the agent reads them, and every parser that a payload can reach. */
#include <stdlib.h>
#include <string.h>

#include "../src/glob.h"
#include "../src/machine.h"
#include "../src/memory.h"
#include "../src/proto.h"
#include "../src/spec.h"
#include "../src/tunnel.h"
#include "../src/work.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_memory(struct slice payload) {
    struct memory m;
    uint8_t *copy = malloc(payload.len + 1);
    if (copy == NULL) return;
    memcpy(copy, payload.ptr, payload.len);
    uint64_t key = payload.len < 14 ? 0 : get_u64(payload.ptr + 6);
    if (memory_parse(&m, copy, payload.len, key)) memory_free(&m);
}

/* Requests for work, and lines of /proc that a process has a say in. */
static void parse_work(struct slice payload) {
    static const uint16_t types[] = {F_FILE, F_WATCH, F_PROCESSES, F_WAIT_PORT, F_PORTS};
    struct work_spec spec;
    struct proc_stat stat;
    struct proc_port port;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        work_parse(types[i], payload, &spec);
        arena_free(&spec.arena);
    }
    char *line = malloc(payload.len + 1);
    if (line == NULL) return;
    memcpy(line, payload.ptr, payload.len);
    line[payload.len] = '\0';
    proc_stat_parse(line, &stat);
    proc_port_parse(line, payload.len % 2 == 0, &port);
    free(line);
}

static void turn(struct slice payload) {
    uint8_t *copy = malloc(payload.len + 1);
    if (copy == NULL) return;
    memcpy(copy, payload.ptr, payload.len);
    tunnel_turn(copy, payload.len);
    free(copy);
}

static void parse_machine(struct slice payload) {
    struct machine_spec spec;
    machine_parse(payload, &spec);
    arena_free(&spec.arena);
}

static void parse(uint16_t type, struct slice payload) {
    parse_memory(payload);
    parse_work(payload);
    turn(payload);
    parse_machine(payload);
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
