/* The inside stage's event loop: streams, credit, children. One thread, poll(2), bounded memory. */
#ifndef GLOVEBOX_LOOP_H
#define GLOVEBOX_LOOP_H

#include <poll.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "confine.h"
#include "proto.h"
#include "spec.h"

enum {
    /* Above this much unsent output no pipe is read; above twice as much no frame is read either. */
    OUT_HIGH = 512 * 1024,
    /* Consumed input is credited in steps, so that small writes do not double the number of frames. */
    CREDIT_STEP = STREAM_WINDOW / 8,
    READ_CHUNK = 64 * 1024,
};

/* One direction from the sandbox to the host. */
struct source {
    int fd;          /* -1 when closed or never there */
    uint32_t credit; /* bytes the host still takes */
};

struct stream {
    uint32_t id;
    bool dial, connecting, dial_v6, work;
    uint16_t port;
    pid_t pid; /* 0 for a dial; for work its hand */
    bool reaped, exit_sent, reset;
    bool orphan; /* nobody asks for it any more: its output is read, and thrown away */
    int status;
    struct rusage usage;
    int in_fd, pty_fd;
    /* Work: who does it, what has to be done again should it be killed first, what it said at the end. */
    struct hand *hand;
    struct request *request;
    struct buf result;
    bool has_data, stays;
    bool in_eof;              /* the host will send no more */
    struct buf in_queue;      /* received, not yet written */
    uint32_t in_window;       /* bytes the host may still send */
    uint32_t in_consumed;     /* written, not yet credited */
    struct source out[OUT_CHANNELS]; /* CH_OUT, CH_ERR, CH_CONTROL */
    struct stream *next;
};

struct loop {
    const struct boot_spec *boot;
    struct stream *streams;
    struct hand *hands; /* without a stream: those that wait for work, and those that are about to end */
    int64_t rest_at_ms; /* when only a few of them stay; 0: they are few */
    size_t stream_count;
    uint32_t last_id;
    struct buf in, out;
    int out_fd; /* where frames go: CHANNEL_FD, or CHANNEL_OUT_FD where the channel is two pipes */
    int signal_fd;
    /* The kernel is the sandbox's own, and what it does for want of memory is told. */
    bool own_kernel;
    uint32_t oom_kills;
    const struct confinement *confinement;
    /* Nothing is said until the host says GO_ON. */
    bool quiet;
    size_t orphan_count; /* streams of a former host: it was another machine */
    bool shutting_down, killed, finishing;
    int64_t kill_at_ms; /* when SHUTDOWN's grace ends */
    struct pollfd *polls;
    size_t poll_cap;
};

/* The id of the command of a one-shot boot. */
enum { ONESHOT_STREAM = 1 };

/* Never returns: exits with the command's code (one-shot), 0 after SHUTDOWN, or 125. */
_Noreturn void loop_run(struct loop *l);

/* Ends everything: a violation of the protocol, or no memory. */
_Noreturn void loop_violation(struct loop *l, const char *message);
_Noreturn void loop_fatal(struct loop *l, uint32_t code, const char *op, const char *message);
void write_out(struct loop *l);
void read_frames(struct loop *l);
/* Checks an append to the output queue. */
void loop_must(struct loop *l, bool ok);
int64_t now_ms(void);
void kill_all(int signo);

/* stream.c */
struct stream *stream_new(struct loop *l, uint32_t id);
struct stream *stream_find(const struct loop *l, uint32_t id);
void stream_start(struct loop *l, uint32_t id, const struct exec_spec *spec);
/* Sends EXIT and CLOSED as far as due; frees the stream when over. True when it was freed. */
bool stream_settle(struct loop *l, struct stream *s);
void stream_reap(struct loop *l, pid_t pid, int status, const struct rusage *usage);
void stream_reset(struct stream *s);
void send_exit(struct loop *l, const struct stream *s, const struct rusage *usage);
int exit_code(int status);
void close_fd(int *fd);

/* pump.c */
enum pump_result { PUMP_IDLE, PUMP_LIMITED, PUMP_CLOSED };
/* Moves what is there from a source to the channel: at most one frame, or all when `all`. */
enum pump_result pump_out(struct loop *l, struct stream *s, int channel, bool all);
/* Writes queued input to the command or connection. */
void pump_in(struct loop *l, struct stream *s);

/* dial.c */
void dial_start(struct loop *l, uint32_t id, uint16_t port);
void dial_ready(struct loop *l, struct stream *s);

/* dispatch.c */
void dispatch(struct loop *l, const struct frame *f, struct slice payload);

/* quiet.c */
void quiet_begin(struct loop *l);
/* As long as it lasts, instead of everything else. */
void quiet_turn(struct loop *l);
/* GO_ON. */
void quiet_end(struct loop *l, struct slice payload);
/* What an orphan said since the queue had this length is taken back, and its windows stay open. */
void orphan_hush(struct loop *l, struct stream *s, size_t before);

/* init.c */
void queue_hello(struct loop *l);

#endif
