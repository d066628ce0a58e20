/*
 * Work that may block: files, watches, the process list, waiting for a port. Each request is a stream of its own, done by a
 * child of the agent (hand.h), which has the agent's confinement: the same credentials, Landlock and seccomp as every command. So a
 * slow file system holds up nobody else, and a path of the sandbox is never followed by anyone outside.
 */
#ifndef GLOVEBOX_WORK_H
#define GLOVEBOX_WORK_H

#include <signal.h>
#include <sys/stat.h>

#include "loop.h"

struct work_spec {
    struct arena arena;
    uint16_t type; /* F_FILE, F_WATCH, F_PROCESSES, F_WAIT_PORT, F_PORTS */
    uint8_t op, how;
    char *path, *target;
    uint32_t flags, mode, depth, max, port, timeout_ms;
    bool has_mode;
    uint64_t offset, length;
};

/* NULL, or what is wrong. */
const char *work_parse(uint16_t type, struct slice payload, struct work_spec *out);

/* What the child knows. `err` and `step` are the result; 0 is success. */
struct worker {
    const struct work_spec *spec;
    const struct rlimits *rlimits;
    const struct stream *streams; /* as they were at the fork: who started which process */
    const struct hand *hands;     /* those without a stream */
    struct hand_page *page; /* where the agent says that nobody waits for this `turn` any more; may be NULL */
    uint32_t turn;
    bool stays; /* the hand takes other requests afterwards */
    int in, out; /* -1 where the request has none */
    struct buf queue; /* records not yet written */
    int err;
    const char *step;
    uint64_t bytes, count;
    uint32_t flags;
    struct buf entry; /* status of the object afterwards; empty when there is none */
};

/* Set by SIGTERM: the host gave up. Every long loop looks at it. */
extern volatile sig_atomic_t work_interrupted;

/* work.c */
void work_start(struct loop *l, uint32_t id, uint16_t type, struct slice payload);
/* Takes the result, if it is there. */
void work_answered(struct stream *s);
/* Sends DONE once there is a result and all data was sent. */
void work_settle(struct loop *l, struct stream *s);
/* Nobody waits for it any more. It tidies up after itself, so it is told before its input ends. */
void work_reset(struct stream *s);
void work_free(struct stream *s);
/* A child that no stream knows ended. */
void work_reap(struct loop *l, pid_t pid);
/* The hands that have nothing to do end. */
void work_dismiss(struct loop *l);
/* Those that a burst left behind end when nothing was done for a while. How long poll(2) may sleep for that, or -1. */
int work_rest(struct loop *l);
/* Does the request; fills in the result. */
void work_run(struct worker *w);
/* The payload of DONE. */
bool work_result(const struct worker *w, struct buf *out);

/* Notes the current errno as the result; false, for `return work_fail(...)`. */
bool work_fail(struct worker *w, const char *step);
bool work_fail_with(struct worker *w, const char *step, int err);
/* True, with EINTR as the result, when the host gave up. */
bool work_stopped(struct worker *w);

/* record.c */
/* Writes out the records; blocks while the host does not read. */
bool record_flush(struct worker *w);
/* A record from parts; flushes when enough has gathered. */
bool record_put(struct worker *w, uint16_t tag, const void *head, size_t head_len, struct slice first, struct slice second);
bool entry_encode(struct buf *out, int dir, const char *name, const struct stat *st, struct slice path);
void put_le(uint8_t *p, uint64_t value, size_t bytes);
struct slice slice_of(const char *text);

/* files.c */
void files_run(struct worker *w);
/* Makes what is missing above `path`. */
bool make_parents(struct worker *w, const char *path);
/* Status of the object for the result. */
void report_entry(struct worker *w, int dir, const char *name, bool follow);

/* transfer.c */
void transfer_read(struct worker *w);
void transfer_write(struct worker *w);

/* tree.c */
void tree_list(struct worker *w);
void tree_remove(struct worker *w);

/* watch.c */
void watch_run(struct worker *w);

/* processes.c */
void processes_run(struct worker *w);
struct proc_stat {
    char comm[64], state;
    uint32_t ppid, session;
    uint64_t cpu_ticks, start_ticks, rss_pages;
};
/* One line of /proc/PID/stat, whose second field is whatever the process called itself: proc(5). */
bool proc_stat_parse(const char *line, struct proc_stat *out);

/* ports.c */
void ports_wait(struct worker *w);
void ports_list(struct worker *w);
struct proc_port {
    uint16_t port;
    uint8_t family, address[16];
    uint32_t uid, state;
    uint64_t inode;
};
/* One line of /proc/net/tcp or tcp6; false for the heading. */
bool proc_port_parse(const char *line, bool ipv6, struct proc_port *out);

#endif
