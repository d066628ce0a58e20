/* What runs in the sandbox, from /proc. A process calls itself what it likes: every text here is hostile, and bounded. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hand.h"

enum { ARGV_MAX = 4096, STAT_MAX = 1024, PROCESS_HEAD = 52, PROCESS_CUT = 1 };

bool proc_stat_parse(const char *line, struct proc_stat *out) {
    const char *open = strchr(line, '('), *close = strrchr(line, ')');
    unsigned long long utime, stime, start;
    long long rss;
    unsigned ppid, session;
    if (open == NULL || close == NULL || close < open || close[1] != ' ') return false;
    size_t n = (size_t)(close - open - 1);
    if (n >= sizeof out->comm) n = sizeof out->comm - 1;
    memcpy(out->comm, open + 1, n);
    out->comm[n] = '\0';
    int got = sscanf(close + 2, "%c %u %*d %u %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d %*d %llu %*u %lld", &out->state,
                     &ppid, &session, &utime, &stime, &start, &rss);
    if (got != 7) return false;
    out->ppid = ppid;
    out->session = session;
    out->cpu_ticks = utime + stime;
    out->start_ticks = start;
    out->rss_pages = rss < 0 ? 0 : (uint64_t)rss;
    return true;
}

/* At most `size` bytes of a small file of /proc; -1 when it cannot be read. */
static ssize_t read_small(int dir, const char *name, char *out, size_t size) {
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -1;
    size_t have = 0;
    ssize_t n = 0;
    while (have < size && (n = read(fd, out + have, size - have)) > 0) have += (size_t)n;
    close(fd);
    return n < 0 && have == 0 ? -1 : (ssize_t)have;
}

static const struct stream *started_by(const struct worker *w, uint32_t pid) {
    for (const struct stream *s = w->streams; s != NULL; s = s->next)
        if (s->pid > 0 && (uint32_t)s->pid == pid && !s->reaped) return s;
    return NULL;
}

/* Milliseconds since the epoch: proc(5), starttime counts ticks since boot. */
static uint64_t started_at(uint64_t ticks) {
    struct timespec now, up;
    long hertz = sysconf(_SC_CLK_TCK);
    if (clock_gettime(CLOCK_REALTIME, &now) < 0 || clock_gettime(CLOCK_BOOTTIME, &up) < 0 || hertz <= 0) return 0;
    int64_t boot = ((int64_t)now.tv_sec - up.tv_sec) * 1000 + (now.tv_nsec - up.tv_nsec) / 1000000;
    int64_t at = boot + (int64_t)(ticks / (uint64_t)hertz * 1000 + ticks % (uint64_t)hertz * 1000 / (uint64_t)hertz);
    return at < 0 ? 0 : (uint64_t)at;
}

/* u32 pid, ppid, session, stream, uid, u8 state, u8 flags (1: arguments cut), u16 length of the name, u64 start ms, u64 rss bytes, u64 cpu µs, u32 length of the arguments */
static bool put_process(struct worker *w, uint32_t pid, int dir, const struct proc_stat *p) {
    static char argv[ARGV_MAX + 1];
    uint8_t head[PROCESS_HEAD] = {0};
    struct stat st;
    const struct stream *s = started_by(w, pid);
    ssize_t n = read_small(dir, "cmdline", argv, sizeof argv);
    uint64_t hertz = (uint64_t)sysconf(_SC_CLK_TCK);
    if (n < 0) n = 0;
    put_le(head, pid, 4);
    put_le(head + 4, p->ppid, 4);
    put_le(head + 8, p->session, 4);
    put_le(head + 12, s == NULL ? 0 : s->id, 4);
    put_le(head + 16, fstat(dir, &st) < 0 ? 0 : st.st_uid, 4);
    head[20] = (uint8_t)p->state;
    head[21] = n > ARGV_MAX ? PROCESS_CUT : 0;
    if (n > ARGV_MAX) n = ARGV_MAX;
    put_le(head + 22, strlen(p->comm), 2);
    put_le(head + 24, started_at(p->start_ticks), 8);
    put_le(head + 32, p->rss_pages * (uint64_t)sysconf(_SC_PAGESIZE), 8);
    put_le(head + 40, hertz == 0 ? 0 : p->cpu_ticks * 1000000 / hertz, 8);
    put_le(head + 48, (uint64_t)n, 4);
    w->count++;
    return record_put(w, REC_PROCESS, head, sizeof head, slice_of(p->comm), (struct slice){(const uint8_t *)argv, (size_t)n});
}

/* The agent itself and its hands are no part of the answer. */
static bool is_agent(const struct worker *w, uint32_t pid) {
    const struct stream *s = started_by(w, pid);
    for (const struct hand *h = w->hands; h != NULL; h = h->next)
        if ((uint32_t)h->pid == pid) return true;
    return pid == 1 || pid == (uint32_t)getpid() || (s != NULL && s->work);
}

static bool look_at(struct worker *w, int proc, const char *name) {
    char line[STAT_MAX];
    struct proc_stat p;
    uint32_t pid = (uint32_t)strtoul(name, NULL, 10);
    if (is_agent(w, pid)) return true;
    int dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (dir < 0) return true;
    ssize_t n = read_small(dir, "stat", line, sizeof line - 1);
    line[n < 0 ? 0 : n] = '\0';
    bool full = w->count >= w->spec->max, ok = true;
    if (n > 0 && full) w->flags |= DONE_TRUNCATED;
    else if (n > 0 && proc_stat_parse(line, &p)) ok = put_process(w, pid, dir, &p);
    close(dir);
    return ok && !(n > 0 && full);
}

void processes_run(struct worker *w) {
    DIR *proc = opendir("/proc");
    if (proc == NULL) {
        work_fail(w, "list");
        return;
    }
    for (const struct dirent *entry; (entry = readdir(proc)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        if (work_stopped(w) || !look_at(w, dirfd(proc), entry->d_name)) break;
    }
    closedir(proc);
}
