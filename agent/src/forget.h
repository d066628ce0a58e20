/*
 * A file server without capabilities holds a descriptor for each file that the machine's kernel knows of, and has only so many. The kernel forgets files
 * when it wants their memory, and not before; so it is asked to.
 */
#ifndef GLOVEBOX_FORGET_H
#define GLOVEBOX_FORGET_H

#include <stdint.h>

/* Starts a process that keeps the kernel from knowing of more files than `most`, besides those that it knows of now. 0: nothing to do. Fails closed. */
void forget_start(uint32_t most);

#endif
