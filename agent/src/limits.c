#include "limits.h"

#include <errno.h>
#include <sys/resource.h>

/* What is in force for the agent, and with that for each child at first; asked once. */
static struct limit ours[LIMIT_COUNT];
static uint32_t known;

static uint64_t smaller(uint64_t a, uint64_t b) { return a < b ? a : b; }

static bool learn(uint32_t resource) {
    if ((known >> resource & 1) != 0) return true;
    if (syscall(SYS_prlimit64, 0, resource, NULL, &ours[resource]) < 0) return false;
    known |= (uint32_t)1 << resource;
    return true;
}

static bool same(const struct limit *a, const struct limit *b) { return a->soft == b->soft && a->hard == b->hard; }

bool limits_add_one(struct limit_plan *p, const struct rlimit_spec *one) {
    if (one->resource >= LIMIT_COUNT) {
        errno = EINVAL;
        return false;
    }
    struct limit *wanted = &p->wanted[one->resource];
    if ((p->named >> one->resource & 1) == 0) {
        if (!learn(one->resource)) return false;
        *wanted = ours[one->resource];
        p->named |= (uint32_t)1 << one->resource;
    }
    wanted->hard = smaller(one->hard, wanted->hard);
    wanted->soft = smaller(one->soft, wanted->hard);
    return true;
}

bool limits_add(struct limit_plan *p, const struct rlimits *list) {
    for (size_t i = 0; i < list->count; i++)
        if (!limits_add_one(p, &list->items[i])) return false;
    return true;
}

bool limits_apply(const struct limit_plan *p) {
    for (uint32_t r = 0; r < LIMIT_COUNT; r++) {
        if ((p->named >> r & 1) == 0 || same(&p->wanted[r], &ours[r])) continue;
        if (syscall(SYS_prlimit64, 0, r, &p->wanted[r], NULL) < 0) return false;
    }
    return true;
}

void limits_take_on(const struct rlimits *list) {
    for (size_t i = 0; i < list->count; i++) {
        struct limit_plan p = {0};
        uint32_t r = list->items[i].resource;
        bool harmless = r == RLIMIT_CORE || r == RLIMIT_FSIZE || r == RLIMIT_MEMLOCK || r == RLIMIT_NICE || r == RLIMIT_RTPRIO;
        /* Whatever is refused here is tried again, and said, where a child needs it. */
        if (harmless && limits_add_one(&p, &list->items[i]) && limits_apply(&p)) ours[r] = p.wanted[r];
    }
}
