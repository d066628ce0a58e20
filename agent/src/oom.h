/* Processes that the kernel of a machine ended because there was no memory left. */
#ifndef GLOVEBOX_OOM_H
#define GLOVEBOX_OOM_H

#include "wire.h"

/* How many so far, on this kernel; 0 where it does not count. */
uint32_t oom_kills(void);

/* Appends an OOM frame. False when there is no memory for it. */
bool oom_tell(struct buf *out, uint32_t kills);

#endif
