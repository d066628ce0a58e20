/* The inside stage gives everything up that it does not need, before any command runs. */
#ifndef GLOVEBOX_CONFINE_H
#define GLOVEBOX_CONFINE_H

#include "spec.h"

/* What was reached, for HELLO. */
struct confinement {
    uint32_t landlock_abi;
    uint32_t flags; /* enum hello_flag */
};

/* Landlock's version on this kernel, 0 when there is none. */
uint32_t landlock_abi(void);

/* Closes every descriptor but 0-2, the channel and the placeholder locks behind it. */
void keep_descriptors(void);
/* Makes standard input and output the channel, and closes every other descriptor but standard error. */
void channel_from_stdio(void);
/* Fails closed with code mask-lost when a path is not covered as the host planned. */
void verify_masks(const struct boot_spec *spec);
/* Capabilities, no_new_privs, Landlock, seccomp, in this order. Fails closed. */
void confine(const struct boot_spec *spec, struct confinement *out);

#endif
