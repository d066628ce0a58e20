/* Resource limits as ceilings (setrlimit(2)): none is ever raised. Calls cost a guest kernel more than arithmetic, so they are few. */
#ifndef GLOVEBOX_LIMITS_H
#define GLOVEBOX_LIMITS_H

#include "spec.h"

enum { LIMIT_COUNT = 16 };

struct limit {
    uint64_t soft, hard;
};

/* What a child will have, of those that were named. */
struct limit_plan {
    struct limit wanted[LIMIT_COUNT];
    uint32_t named; /* bit by resource */
};

/* Adds to a plan, in the agent: nothing is in force yet. False with errno set. */
bool limits_add(struct limit_plan *p, const struct rlimits *list);
bool limits_add_one(struct limit_plan *p, const struct rlimit_spec *one);
/* Puts it in force for the calling child. False with errno set. */
bool limits_apply(const struct limit_plan *p);
/* The agent takes on those that are nothing to it, so that every child has them from the start. */
void limits_take_on(const struct rlimits *list);

#endif
